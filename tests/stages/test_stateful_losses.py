"""Losses that hold a state, in both stages: a resumed run ends with the bits of a whole one, and a broken state is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import bind
from tiny_folders import write_folder

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, FineSettings, ViewSettings
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.stages.checkpoint import State
from dreamfusion_mesh.stages.coarse import fit_field, load_coarse
from dreamfusion_mesh.stages.fine import fit_surface
from dreamfusion_mesh.stages.fit import Hooks
from dreamfusion_mesh.stages.start import start_from_field

CPU = torch.device("cpu")
SMALL = FieldSettings(levels=2, table_size_log2=8, finest=8, hidden=8)
COARSE = CoarseSettings(steps=4, size=8, views=2, samples=16, occupancy_size=8, checkpoint_seconds=0, field=SMALL)
FINE = FineSettings(steps=4, size=16, views=2, tet_size=12, checkpoint_seconds=0)
VIEWS = ViewSettings(textureless=0.0)
LOSSES = ["cfd", "vsd"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"))


def coarse(model: Any, hooks: Hooks, draws: torch.Generator) -> State:
    return fit_field(model, COARSE, VIEWS, model.settings, draws, CPU, hooks)[1]


def fine(model: Any, hooks: Hooks, draws: torch.Generator, before: State) -> State:
    field = load_coarse(before, COARSE, draws, CPU)
    start = start_from_field(field, COARSE.samples, FINE, VIEWS, 0.02, draws)
    return fit_surface(start, field.field, model, resolve_rasterizer("warp", CPU), FINE, VIEWS, model.settings, draws, hooks)[1]


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("loss", LOSSES)
def test_a_resumed_run_equals_a_whole_one(folder: Path, loss: str) -> None:
    saved: list[State] = []
    whole = coarse(bind(folder, loss=loss), Hooks(save=saved.append), torch.Generator().manual_seed(0))
    own = [name for name in saved[1] if name.startswith(("module.loss.", "optimizer.lora."))]
    assert own
    assert any(not torch.equal(saved[0][name], saved[1][name]) for name in own), "it moves"
    assert_same(coarse(bind(folder, loss=loss), Hooks(resume=saved[1]), torch.Generator()), whole)
    saved.clear()
    refined = fine(bind(folder, loss=loss), Hooks(save=saved.append), torch.Generator(), whole)
    assert any(name.startswith("module.loss.") for name in saved[1])
    assert_same(fine(bind(folder, loss=loss), Hooks(resume=saved[1]), torch.Generator(), whole), refined)
    assert not any("loss" in name for name in refined), "a finished surface needs none of it"


@pytest.mark.parametrize("loss", LOSSES)
def test_a_state_that_is_not_the_losss_is_refused_by_name(folder: Path, loss: str) -> None:
    saved: list[State] = []
    coarse(bind(folder, loss=loss), Hooks(save=saved.append), torch.Generator().manual_seed(0))
    name = next(name for name in saved[0] if name.startswith("module.loss."))
    broken: Mapping[str, State] = {
        f"{name}: is missing": {key: value for key, value in saved[0].items() if key != name},
        f"{name}: torch.float32 [3]": {**saved[0], name: torch.zeros(3)},
        f"{name}: holds NaN": {**saved[0], name: torch.full_like(saved[0][name], torch.nan)},
        "module.loss.more: is no tensor": {**saved[0], "module.loss.more": torch.zeros(3)},
    }
    for message, state in broken.items():
        with pytest.raises(BadInput) as refused:
            coarse(bind(folder, loss=loss), Hooks(resume=state, source="step 1"), torch.Generator())
        assert message in str(refused.value)
        assert str(refused.value).startswith("step 1: does not fit this run (")


class Spoilt:
    """A bound model of which one answer, of the adapter too, is NaN in the step that is given."""

    def __init__(self, model: Any, step: int) -> None:
        self._model, self._step, self.asked = model, step, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def adapter(self, rank: int, draws: torch.Generator) -> torch.nn.Module:
        adapter = self._model.adapter(rank, draws)
        adapter.register_forward_hook(self._spoil)
        return adapter

    def _spoil(self, module: torch.nn.Module, given: Any, answers: Any) -> Any:
        self.asked += 1
        step = (self.asked - 1) // 2  # the LoRA answers twice a step
        return dataclasses.replace(answers, text=answers.text * torch.nan) if step == self._step else answers


def test_nan_in_the_loras_answers_is_skipped_and_counted(folder: Path) -> None:
    told: list[Mapping[str, float]] = []
    saved: list[State] = []
    model: ScoreModel = Spoilt(bind(folder, loss="vsd"), 1)
    hooks = Hooks(report=lambda stage, done, total, figures, scene: told.append(figures), save=saved.append)
    last = coarse(model, hooks, torch.Generator().manual_seed(0))
    assert [figures["skipped"] for figures in told] == [0, 1, 1, 1]
    assert ["lora" in figures for figures in told] == [True, False, True, True]
    assert all(value.isfinite().all() for value in last.values())
    assert last["fit.counts"].tolist() == [4, 1]
