"""Whole runs with one number at an end of its range: finished, or one line that says why not. In the sweep, for they take half an hour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from setting_ranges import Number, all_numbers

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.pipeline import generate

FEW = ["coarse.steps=2", "coarse.size=16", "coarse.views=1", "coarse.samples=16", "coarse.occupancy_size=8", "coarse.occupancy_interval=1"]
FEW += ["fine.steps=2", "fine.size=16", "fine.views=1", "fine.tet_size=12", "mesh.triangles=300", "texture.size=64", "texture.padding=1"]
FEW += ["device=cpu", "asset.preview_size=16"]
HOURS = {("coarse.steps", "high"), ("fine.steps", "high"), ("coarse.size", "high"), ("fine.tet_size", "high")}
COMPANIONS = {
    ("coarse.field.coarsest", "high"): ["coarse.field.finest=512"],
    ("coarse.field.finest", "low"): ["coarse.field.coarsest=2"],
    ("fine.volume_subdivisions", "high"): ["fine.tet_size=16"],
    ("texture.padding", "high"): ["texture.size=512"],
    ("views.position_jitter", "high"): ["views.distance=[4, 6]"],
    ("views.lambertian", "high"): ["views.textureless=0"],
    ("views.textureless", "high"): ["views.lambertian=0"],
    **{(f"{group}.t_max", "low"): [f"{group}.t_max=[0.001, 0.001]", f"{group}.t_min=[0, 0]"] for group in ("guidance", "fine")},
    **{(f"{group}.t_min", "high"): [f"{group}.t_min=[0.999, 0.999]", f"{group}.t_max=[1, 1]"] for group in ("guidance", "fine")},
}


def whole_runs() -> list[Any]:
    """(number, "low" or "high") of every number's ends, spans once."""
    firsts = [number for number in all_numbers() if number.spot in (None, 0)]
    both = [(number, end) for number in firsts for end in ("low", "high") if (number.name, end) not in HOURS]
    return [pytest.param(number, end, id=f"{number.name}-{end}") for number, end in both]


@pytest.mark.sweep
@pytest.mark.parametrize(("number", "end"), whole_runs())
def test_a_whole_run_at_an_end_is_finished_or_says_why_not(number: Number, end: str, guidance: GuidanceModel, tmp_path: Path) -> None:
    value = number.low if end == "low" else number.high
    taken = value if number.spot is None else [value, value]
    config = load_config("smoke", [*FEW, f"{number.name}={taken}", *COMPANIONS.get((number.name, end), [])], {"prompt": "a red mushroom"})
    try:
        result = generate(config, tmp_path / "run", guidance=guidance)
    except RunFailed as error:
        assert str(error).isprintable()  # noqa: PT017  whether it fails is not asked
    else:
        assert result.files["asset.glb"].stat().st_size > 1000
