"""The ends of the ranges hold for what a delivery adds to the mesh: levels of detail, collision hulls, and a limit of the file's bytes."""

from __future__ import annotations

import pytest
from assets import material
from gridded_box import gridded_box
from setting_ranges import all_numbers
from surfaces import cube, torus

from dreamfusion_mesh.asset.budget import within_bytes
from dreamfusion_mesh.asset.collision.hulls import collision_hulls
from dreamfusion_mesh.asset.export.glb import glb_bytes
from dreamfusion_mesh.asset.lod.levels import make_lods
from dreamfusion_mesh.asset.placement import stand_on_ground
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import AssetSettings, AuditSettings, MeshSettings, TextureSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Asset, Lod, Mesh


def ends(name: str) -> tuple[float, float]:
    (number,) = (number for number in all_numbers() if number.name == name)
    assert number.low is not None
    assert number.high is not None
    return number.low, number.high


@pytest.mark.parametrize(("lods", "levels"), zip(ends("asset.lods"), (0, 2), strict=True))
@pytest.mark.parametrize("pixels", ends("audit.lod_pixels"))
def test_there_are_as_many_levels_of_detail_as_the_triangles_allow(lods: int, levels: int, pixels: float) -> None:
    """Of 48 a third is left twice, or more; then the corners of a cube's six charts stay, and a new atlas is not to be had here."""

    def fails(mesh: Mesh, triangles: int) -> Lod:
        raise RunFailed(f"no {triangles} triangles")

    settings, audited = AssetSettings(lods=lods), AuditSettings(lod_pixels=pixels)
    found = make_lods(gridded_box(2), material(), settings.lods, fails, audited.lod_pixels)
    assert len(found.lods) == levels
    assert all(0.35 <= note.ratio <= 0.64 for note in found.notes)
    assert any(line.startswith(f"lods: 2 instead of {lods}: level 3") for line in found.warnings) == (lods > 2)


@pytest.mark.parametrize("most", [*ends("asset.collision_hulls"), 1])
@pytest.mark.parametrize("seconds", ends("asset.collision_seconds"))
def test_there_are_at_most_as_many_hulls_as_are_asked_for_whatever_the_time(most: int, seconds: float) -> None:
    settings = AssetSettings(collision_hulls=most, collision_seconds=seconds)
    ring = most == 1 or seconds == 0  # with time for many hulls a ring takes seconds
    found = collision_hulls(torus(24, 12) if ring else cube(), settings.collision_hulls, settings.collision_seconds)
    assert len(found.hulls) == min(most, 1)
    assert all(soundness(weld(hull)).sound for hull in found.hulls)
    assert bool(found.warnings) == (ring and most > 0)  # one hull fills a ring's hole


@pytest.mark.parametrize("most", ends("mesh.max_bytes"))
def test_a_file_may_have_few_bytes_or_all_that_a_file_can_have(most: int) -> None:
    settings = MeshSettings(max_bytes=most)
    mesh = stand_on_ground(unwrap(cube(), TextureSettings(size=64, padding=1)).mesh, 1.0)[0]
    asset = Asset("cube", mesh, material(), {})
    found = within_bytes(asset, settings.max_bytes, glb_bytes, lambda triangles, size: asset)
    assert len(glb_bytes(found.asset)) <= most
    assert found.warnings == ()


@pytest.mark.parametrize("lods", [0, 1])
@pytest.mark.parametrize("msft_lod", [False, True])
def test_levels_are_inside_the_file_where_there_are_any_and_they_are_asked_for(lods: int, msft_lod: bool) -> None:
    box = gridded_box(2)
    asset = Asset("box", box, material(), {}, (Lod(box, material()),) * lods)
    assert (b"MSFT_lod" in glb_bytes(asset, AssetSettings(msft_lod=msft_lod))) == (lods == 1 and msft_lod)
