"""The whole way by the similarity of a CLIP: an asset is delivered, resume, what is not finite, what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from outcomes import poor_outcome
from smoke_runs import PROMPT, glb, stop_at
from tiny_clips import write_clip, write_towers

from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.clip_guidance import ClipGuidance
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.pipeline import fit, generate

FEW = ["device=cpu", "guidance.loss=clip", "guidance.clip_loss.crops=2", "coarse.steps=4", "fine.steps=2", "texture.size=64"]
FEW += ["texture.occlusion_rays=0", "asset.lods=0", "asset.collision_hulls=0"]


def config_of(folder: Path, *changes: str) -> RunConfig:
    return load_config("smoke", [*FEW, f"guidance.clip={folder}", *changes], {"prompt": PROMPT, "seed": 3})


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return config_of(write_clip(tmp_path_factory.mktemp("clips") / "clip"))


def test_a_run_delivers_and_one_that_was_stopped_goes_on_to_the_same_bytes(config: RunConfig, tmp_path: Path) -> None:
    whole = generate(config, tmp_path / "whole")
    facts = json.loads((whole.folder / "provenance.json").read_text())["guidance"]
    assert (facts["model"], facts["loss"]) == ("clip", "clip")
    for stage, step in (("coarse", 2), ("fine", 1)):
        with pytest.raises(KeyboardInterrupt):
            generate(config, tmp_path / "stopped", report=stop_at(stage, step))
    assert glb(generate(config, tmp_path / "stopped").folder) == glb(whole.folder)


class Faulty(ClipGuidance):
    """Gives no numbers for the second image that it is asked for, and, without `once`, for all that follow."""

    once = True

    def for_prompt(self, *given, **named):  # type: ignore[no-untyped-def]
        model, calls = super().for_prompt(*given, **named), []

        class Prompted(type(model)):  # type: ignore[misc]
            def images(prompted, images: torch.Tensor) -> torch.Tensor:
                calls.append(len(images))
                vectors = super().images(images)
                return vectors * torch.nan if len(calls) == 2 or (len(calls) > 2 and not self.once) else vectors

        return Prompted(model.clip, model.settings, model.vectors, model.warnings)


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path: Path) -> None:
    config = config_of(write_towers(tmp_path / "clip"))
    fit(config, tmp_path / "run", guidance=Faulty(load_guidance(config.guidance, "cpu").clip))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["skipped"] for line in lines if line["stage"] == "coarse"] == [0, 1, 1, 1]


def test_one_that_stays_so_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(write_towers(tmp_path / "clip"), "coarse.steps=20")
    monkeypatch.setattr(Faulty, "once", False)
    with poor_outcome("diverged", "10 steps"):
        generate(config, tmp_path / "run", guidance=Faulty(load_guidance(config.guidance, "cpu").clip))


def test_a_clip_whose_licence_is_not_known_is_refused_by_its_own_setting(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^guidance\.clip 'clip': refused with --commercial"):
        generate(config.model_copy(update={"commercial": True}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_that_a_clip_cannot_follow_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    for change in ("guidance.perp_neg=1", "guidance.multiview=true"):
        with pytest.raises(BadInput, match=r"guidance: loss clip has no diffusion model .*: set perp_neg=0 and multiview=false"):
            config_of(tmp_path / "nowhere", change, "coarse.views=4", "fine.views=4")
