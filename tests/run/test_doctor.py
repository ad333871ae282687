"""What `doctor` says of parts that some settings need."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from dreamfusion_mesh.doctor import examine

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OPTIONAL = {"pymeshlab": "meshlab", "peft": "vsd", "usd-core": "usd", "imageio-ffmpeg": "video", "viser": "view", "DracoPy": "draco"}


@pytest.mark.parametrize("part", OPTIONAL)
def test_a_missing_optional_part_is_told_with_the_extra_that_brings_it(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, module = importlib.util.find_spec, {"usd-core": "pxr", "imageio-ffmpeg": "imageio_ffmpeg"}.get(part, part)
    monkeypatch.setattr("dreamfusion_mesh.doctor.find_spec", lambda name, *rest: None if name == module else found(name, *rest))
    finding = next(each for each in examine() if each.name == part)
    assert not finding.found
    assert not finding.needed
    assert f'not installed; pip install "dreamfusion-mesh[{OPTIONAL[part]}]"; for ' in finding.detail
    assert any(each.startswith(part) for each in EXTRAS[OPTIONAL[part]])
