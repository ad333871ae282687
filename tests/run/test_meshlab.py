"""A run that asks for MeshLab's filters: missing before it begins, and in its provenance."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from stub_score import StubScore

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.doctor import examine
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.geometry import meshlab
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.run.provenance import provenance

ASKED = ["mesh.repair=meshlab", "device=cpu"]


def test_a_run_without_the_package_ends_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == meshlab.PACKAGE else found(name, *rest))
    with pytest.raises(BadInput, match=r"mesh.repair 'meshlab': .*dreamfusion-mesh\[meshlab\]"):
        generate(load_config("smoke", ASKED, {"prompt": "a red mug"}), tmp_path / "run", guidance=StubScore())  # type: ignore[arg-type]
    assert not any(file.is_file() for file in tmp_path.rglob("*") if file.name != "run.lock")


@pytest.mark.parametrize(("changes", "named"), [(ASKED, True), (["device=cpu"], False)])
def test_provenance_names_it_where_it_is_asked_for(changes: list[str], named: bool) -> None:
    notes = provenance(load_config("smoke", changes, {"prompt": "a red mug"}), resolve_rasterizer("warp", "cpu"), torch.device("cpu"))
    assert ("meshlab" in notes) == named
    assert not named or notes["meshlab"]["licence"] == "GPL-3.0"


def test_doctor_tells_of_it_as_optional() -> None:
    found = [part for part in examine() if part.name == meshlab.PACKAGE]
    assert [(part.needed, "GPL" in part.detail or "pip install" in part.detail) for part in found] == [(False, True)]
