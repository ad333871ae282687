"""The whole way through every published family of models: both stages of the smoke preset, and an asset by the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from smoke_runs import SMALL_DELIVERY
from tiny_pipelines import FAMILIES, write_pipeline

from dreamfusion_mesh import cli
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.pipeline import fit

PROMPT = "a red mug"
SIZES = {"deepfloyd": 8}  # pixels a side; 16 for all others
RUN = [family for family in FAMILIES if family != "v-prediction"]  # which differs from Stable Diffusion in what it predicts alone


@pytest.mark.parametrize("family", RUN)
def test_both_stages_are_guided_by_each_family(family: str, tmp_path: Path) -> None:
    write_pipeline(family, tmp_path / "model")
    few = ["device=cpu", "coarse.steps=2", "fine.steps=1", f"guidance.model={tmp_path / 'model'}"]
    config = load_config("smoke", [*few, f"guidance.image_size={SIZES.get(family, 16)}"], {"prompt": PROMPT, "seed": 3})
    fit(config, tmp_path / "run")
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    guided = [step for step in steps if "residual" in step]
    assert len(guided) == 3, steps
    assert all(step["residual"] > 0 for step in guided)


def check_asset(family: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    write_pipeline(family, folder / "model")
    changes = [f"guidance.model={folder / 'model'}", f"guidance.image_size={SIZES.get(family, 16)}", "device=cpu", *more]
    options = [part for change in changes for part in ("--set", change)]
    monkeypatch.setattr(sys, "argv", ["dreamfusion-mesh", "generate", PROMPT, "--preset", "smoke", "--out", str(folder / "run"), *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    notes = json.loads((folder / "run" / "provenance.json").read_text())["guidance"]
    assert notes["model"] == "model"
    assert any(name.startswith(("unet/", "transformer/")) for name in notes["files"])
    assert (folder / "run" / "asset.glb").stat().st_size > 1000


def test_the_command_line_makes_an_asset_by_a_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_asset("sd3", tmp_path, monkeypatch, *SMALL_DELIVERY)


@pytest.mark.sweep
@pytest.mark.parametrize("family", RUN)
def test_the_command_line_makes_an_asset_by_each_family(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_asset(family, tmp_path, monkeypatch)
