"""The whole way from a surface to audited files: surfaces as the pipeline makes them, and shapes that are hard to make an asset of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hostile_shapes import HOSTILE
from surfaces import sphere
from whole_way import Published, published

from dreamfusion_mesh.asset.deadline import Deadline
from dreamfusion_mesh.config import AssetSettings, AuditSettings, MeshSettings, RunConfig, TextureSettings
from tools.bench.surfaces import NOISES, SHAPES, marched

Reports = Callable[[Sequence[Path]], list[dict[str, Any]]]

PATIENT = 600  # seconds that a library in a process of its own may take: that process is ended by the wall clock
FULL = RunConfig(prompt="a wooden thing", asset=AssetSettings(collision_seconds=PATIENT))
QUICK = FULL.model_copy(
    update={
        "mesh": MeshSettings(triangles=1000),
        "texture": TextureSettings(size=256, padding=2, occlusion_rays=4, unwrap_seconds=PATIENT),
        "asset": AssetSettings(preview_size=16, collision_hulls=8, collision_seconds=PATIENT),
        "audit": AuditSettings(lod_pixels=3.0),  # so few triangles have none to spare
    }
)
FINER = QUICK.model_copy(update={"mesh": MeshSettings(triangles=1500)})
KEPT_PARTS = ("400 cubes", "many shells")  # with every part, however small
NARROW = "its own parts are narrower than 8 texels"
PARTS = "there are more parts than triangles or hulls for them"
# Rows that an asset may miss. Those of levels and hulls, and the budget's, only where a warning of the delivery tells of it.
ANY = {6: "how full the square gets depends on the shape"}
LEVELS_AND_HULLS = {11: "noise and parts leave no level within a pixel, or none on the same atlas", 12: "16 hulls do not follow every dent"}
UNREACHABLE: dict[str, dict[int, str]] = {
    "thin sheet": {5: NARROW, 10: NARROW},
    "needle": {5: NARROW},
    "400 cubes": {2: PARTS, 3: PARTS, 5: NARROW},
    "sliver": {5: NARROW},
    "many shells": {5: NARROW},
    "open sheet with holes": {3: "flat sides on top of one another do not stay apart"},
}
TOLD_BY = {3: "decimate: ", 11: "lods: ", 12: "collision: "}


@pytest.fixture(autouse=True)
def _deadlines_by_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits count what this process computes, so that a busy machine does not change what comes out."""
    monkeypatch.setattr(Deadline, "after", staticmethod(lambda seconds: Deadline(time.process_time() + seconds, time.process_time)))


def assert_an_asset(found: Published, reports: Reports, allowed: Mapping[int, str]) -> None:
    """It misses no row but those that its shape cannot pass, and says so; its files are valid."""
    warnings = found.delivered.warnings
    assert {number: why for number, why in found.missed.items() if number not in allowed} == {}
    for number in found.missed.keys() & TOLD_BY.keys():
        assert any(line.startswith(TOLD_BY[number]) for line in warnings), (found.missed[number], warnings)
    assert not [line for line in warnings if "time was up" in line or "had no time" in line]
    for path, report in zip(found.glbs(), reports(found.glbs()), strict=True):
        issues = report["issues"]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), (path.name, issues["messages"])


def config_of(name: str, config: RunConfig) -> RunConfig:
    return config.model_copy(update={"mesh": config.mesh.model_copy(update={"smallest_part": 0.0})}) if name in KEPT_PARTS else config


@pytest.mark.parametrize(("index", "noise"), [(0, "smooth"), (1, "smooth"), (2, "dented")], ids=["pebble", "ring", "snowman"])
def test_a_surface_of_the_pipeline_becomes_a_sound_asset(index: int, noise: str, tmp_path: Path, khronos_reports: Reports) -> None:
    surface = marched(SHAPES[index], *NOISES[noise], 24, index)
    assert_an_asset(published(surface, QUICK, tmp_path), khronos_reports, ANY)


@pytest.mark.parametrize("name", ["one tetrahedron", "self-touching", "non-manifold fan"])
def test_a_hostile_shape_becomes_an_asset_too(name: str, tmp_path: Path, khronos_reports: Reports) -> None:
    few = {11: "a solid has at least 4 triangles"} if name == "one tetrahedron" else {}
    assert_an_asset(published(HOSTILE[name](), FINER, tmp_path), khronos_reports, ANY | few)


@pytest.mark.parametrize(("most", "side", "fewer"), [(40_000, 64, False), (20_000, 64, True)])
def test_a_number_of_bytes_costs_texels_first_and_then_triangles(most: int, side: int, fewer: bool, tmp_path: Path) -> None:
    """The file keeps to it, and its charts are laid out for the smaller maps, which levels of detail share."""
    mesh = MeshSettings(triangles=600, max_bytes=most, max_deviation=0.05)
    texture = TextureSettings(size=256, padding=2, occlusion_rays=0, unwrap_seconds=PATIENT)
    audit = AuditSettings(lod_pixels=20, hausdorff=0.05)
    config = QUICK.model_copy(update={"mesh": mesh, "texture": texture, "audit": audit})
    found = published(sphere(3), config, tmp_path)
    asset, row = found.delivered.asset, found.result.audit.rows[2]
    length = len(found.result.files["asset.glb"].read_bytes())
    assert length == row.measured["bytes"] <= most
    assert {image.pixels.shape[:2] for image in asset.material.maps.values()} == {(side, side)}
    assert (len(asset.mesh.faces) < 600) == fewer
    assert len(asset.lods) == 2
    assert all(level.material is asset.material for level in asset.lods)
    assert found.missed.keys() <= {1, 6}  # the validator may not be installed
    assert any(line.startswith(f"mesh.max_bytes: {'' if fewer else 'maps of'}") for line in found.delivered.warnings)


@pytest.mark.sweep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("index", range(len(SHAPES)), ids=lambda index: SHAPES[index].__name__)
def test_every_surface_becomes_a_sound_asset(index: int, noise: str, tmp_path: Path, khronos_reports: Reports) -> None:
    surface = marched(SHAPES[index], *NOISES[noise], 56, index)
    assert_an_asset(published(surface, FULL, tmp_path), khronos_reports, ANY | LEVELS_AND_HULLS)


@pytest.mark.sweep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_shape_becomes_an_asset(name: str, tmp_path: Path, khronos_reports: Reports) -> None:
    allowed = ANY | LEVELS_AND_HULLS | UNREACHABLE.get(name, {})
    assert_an_asset(published(HOSTILE[name](), config_of(name, FULL), tmp_path), khronos_reports, allowed)
