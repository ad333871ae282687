"""NaN in an answer that only some losses ask for skips the step, and is counted, as NaN in any other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from stub_score import StubScore
from torch import Tensor

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.records import Views
from dreamfusion_mesh.records.diffusion import Answers, Schedule
from dreamfusion_mesh.stages.coarse import fit_field
from dreamfusion_mesh.stages.fit import Hooks

SETTINGS = CoarseSettings(
    steps=5, size=8, views=1, samples=8, occupancy_size=8, field=FieldSettings(levels=1, table_size_log2=8, coarsest=4, finest=8, hidden=4)
)


class Spoiled(StubScore):
    """Answers with and without words, and with negative ones; in its n-th step one of them is NaN."""

    def __init__(self, kind: str, step: int) -> None:
        super().__init__()
        self.schedule = Schedule(torch.linspace(1, 0.1, 1000), torch.linspace(0.1, 1, 1000))
        self.kind, self.step, self.steps = kind, step, 0

    def _of(self, kind: str, noisy: Tensor, share: float) -> Tensor:
        return share * noisy + (math.nan if kind == self.kind and self.steps == self.step else 0.0)

    def encode(self, images: Tensor) -> Tensor:
        self.steps += 1
        return super().encode(images)

    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        kinds = {"uncond": 0.5, "negative": 0.1}
        return Answers("epsilon", self._of("text", noisy, 0.9), **{kind: self._of(kind, noisy, share) for kind, share in kinds.items()})

    def answer_without_words(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        return Answers("epsilon", self._of("without", noisy, 0.5))


@pytest.mark.parametrize(("loss", "kind"), [("csd", "negative"), ("csd", "uncond"), ("sdi", "uncond"), ("ism", "without")])
def test_a_step_with_nan_in_an_extra_answer_is_skipped_and_counted(loss: str, kind: str) -> None:
    figures: list[dict[str, Any]] = []
    hooks = Hooks(report=lambda stage, done, total, found, scene: figures.append(dict(found)))
    guidance = GuidanceSettings(loss=loss, sdi={"inversions": 2})
    views = ViewSettings(lambertian=0, textureless=0)
    fitted, _ = fit_field(Spoiled(kind, 3), SETTINGS, views, guidance, torch.Generator().manual_seed(0), torch.device("cpu"), hooks)
    assert [entry["skipped"] for entry in figures] == [0, 0, 1, 1, 1]
    assert all(parameter.isfinite().all() for parameter in fitted.field.parameters())
