"""From a surface to an asset: placed, mapped, coloured by the field, on the surface's device, and the same every time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from one_device import PRETENDED, OneDevice, assert_on
from surfaces import torus

from dreamfusion_mesh import deliver as module
from dreamfusion_mesh.asset.bake.gutter import gutter_texels
from dreamfusion_mesh.asset.bake.maps import to_maps
from dreamfusion_mesh.asset.budget import Fitted
from dreamfusion_mesh.asset.collision.hulls import collision_hulls
from dreamfusion_mesh.asset.export.corners import export_surface, used_points
from dreamfusion_mesh.asset.export.files import asset_files
from dreamfusion_mesh.asset.finishes import PLAIN, Finishes
from dreamfusion_mesh.asset.lod import levels
from dreamfusion_mesh.asset.lod.levels import make_lods
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import AssetSettings, FieldSettings, MeshSettings, RunConfig, TextureSettings
from dreamfusion_mesh.deliver import STEPS, Delivered, deliver
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.records import Asset
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.simplify import decimate
from dreamfusion_mesh.shape.tidy import tidy
from dreamfusion_mesh.stages.fine import Surface

RASTERIZER = resolve_rasterizer("warp", "cpu")
MESH = MeshSettings(triangles=1200, smooth=0)
TEXTURE = TextureSettings(
    size=128, padding=2, unwrap="box", roughness=0.3, metallic=0.7, denoise=0.0, occlusion_rays=16
)  # uvunwrap cuts a ring into two, which a level with few triangles makes overlap
CONFIG = RunConfig(mesh=MESH, texture=TEXTURE, asset=AssetSettings(longest_side=2.0, lods=2, collision_hulls=1))


def field() -> HashField:
    made = HashField(FieldSettings(levels=2, table_size_log2=8, coarsest=4, finest=8, hidden=8), torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.table.mul_(2e4)  # its first values are near zero, one grey everywhere
    return made


def delivered() -> Delivered:
    return deliver(Surface(torus(), field()), RASTERIZER, CONFIG, {"seed": 7})


@lru_cache(maxsize=1)
def ring() -> Delivered:
    return delivered()


def test_the_asset_stands_on_the_ground_at_the_asked_size() -> None:
    vertices = ring().asset.mesh.vertices
    low, high = vertices.amin(dim=0), vertices.amax(dim=0)
    assert float((high - low).max()) == pytest.approx(2.0, abs=1e-6)
    assert float(low[1]) == pytest.approx(0, abs=1e-6)
    assert (low + high)[[0, 2]].tolist() == pytest.approx([0, 0], abs=1e-6)


def test_the_reference_is_the_surface_before_decimation_placed_alike() -> None:
    found, plain = ring().reference, torus()
    assert len(found.faces) == len(plain.faces) > len(ring().asset.mesh.faces)
    assert len(ring().asset.mesh.faces) <= MESH.triangles
    extent = (plain.vertices.amax(dim=0) - plain.vertices.amin(dim=0)).max()
    back = found.vertices * (extent / 2)
    radius = ((back[:, 0].square() + (back[:, 1] - 0.85).square()).sqrt() - 0.6).square() + back[:, 2].square()
    assert float((radius.sqrt() - 0.25).abs().max()) < 0.01


def test_the_material_holds_the_fields_colour_and_the_settings_finish() -> None:
    material = ring().asset.material
    assert (material.roughness_factor, material.metallic_factor) == (1.0, 1.0)
    assert list(material.maps) == ["base_color", "orm", "normal"]
    assert np.unique(material.maps["orm"].pixels[..., 1:].reshape(-1, 2), axis=0).tolist() == [[round(0.3 * 255), round(0.7 * 255)]]
    pixels = material.maps["base_color"].pixels
    assert pixels.shape == (128, 128, 3)
    with torch.no_grad():
        seen = field().albedo(torus().vertices)
    low, high = (seen.amin(dim=0) * 255).numpy(), (seen.amax(dim=0) * 255).numpy()
    assert ((high - low) > 20).all()
    assert (pixels.reshape(-1, 3).min(axis=0) >= low - 10).all()
    assert (pixels.reshape(-1, 3).max(axis=0) <= high + 10).all()
    assert (np.ptp(pixels.reshape(-1, 3), axis=0) > 0.5 * (high - low)).all()


def test_what_was_done_is_reported_and_timed() -> None:
    lines: list[tuple[str, int, int]] = []
    made = deliver(Surface(torus(), field()), RASTERIZER, CONFIG, {}, lambda stage, done, total, *_: lines.append((stage, done, total)))
    assert lines == [("deliver", done, len(STEPS)) for done in range(len(STEPS) + 1)]
    assert tuple(made.seconds) == STEPS
    assert tuple(made.notes) == STEPS
    assert made.notes["unwrap"]["method"] == "box"
    assert [note["atlas"] for note in made.notes["levels"]] == ["shared", "shared"]


def test_levels_and_hulls_stand_where_the_asset_does() -> None:
    asset = ring().asset
    before = len(asset.mesh.faces)
    for level in asset.lods:
        assert 0.35 * before <= len(level.mesh.faces) <= 0.65 * before
        before = len(level.mesh.faces)
    assert asset.lods[0].material is asset.material
    assert len(asset.hulls) == 1
    bounds = torch.cat([asset.mesh.vertices.amin(dim=0), asset.mesh.vertices.amax(dim=0)])
    margins = {level.mesh: 0.03 for level in asset.lods} | dict.fromkeys(asset.hulls, 0.1)  # 32 corners round a ring stand out
    for mesh, margin in margins.items():
        vertices = mesh.vertices[mesh.faces.unique()]
        assert torch.allclose(torch.cat([vertices.amin(dim=0), vertices.amax(dim=0)]), bounds, atol=margin)


def test_a_level_that_cannot_share_the_atlas_has_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "_problem", lambda *arguments: "for this test")
    made = deliver(Surface(torus(), field()), RASTERIZER, CONFIG, {})
    assert [note["atlas"] for note in made.notes["levels"]] == ["own", "own"]
    assert tuple(made.notes) == STEPS
    for level in made.asset.lods:
        assert level.material.maps["base_color"].pixels.shape == (64, 64, 3)
    assert sum("an atlas of its own" in line for line in made.warnings) == 2


def test_what_an_asset_that_did_not_fit_had_to_say_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def anew(asset: Asset, most: int | None, to_file: object, redo: Callable[[int, int], Asset]) -> Fitted:
        return Fitted(redo(400, 128), ("made anew",))

    monkeypatch.setattr(module, "within_bytes", anew)
    monkeypatch.setattr(module, "finishes_of", lambda *_: Finishes(PLAIN, (), ("of finishes",)))
    made = deliver(Surface(torus(), field()), RASTERIZER, CONFIG, {})
    assert len(made.asset.mesh.faces) == 400
    assert sum("lods: level 1 (" in line for line in made.warnings) == 1
    assert not any("600 triangles" in line or "to at most 1200" in line for line in made.warnings)
    assert sum("collision: " in line for line in made.warnings) == 1
    assert made.warnings[-1] == "made anew"
    assert made.warnings.count("of finishes") == 1


def test_the_same_surface_gives_the_same_files_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = asset_files(delivered().asset, AssetSettings())
    names = "asset.glb asset_LOD1.glb asset_LOD2.glb asset_collision.glb asset.obj asset.mtl"
    maps = "asset_basecolor.png asset_orm.png asset_normal.png asset_roughness.png asset_metallic.png"
    assert sorted(files) == sorted(f"{names} {maps}".split())
    assert files == asset_files(ring().asset, AssetSettings())
    assert not list(tmp_path.iterdir())


def test_each_device_delivers_the_same_mesh(device: torch.device) -> None:
    rasterizer = resolve_rasterizer("warp", device)
    found = deliver(Surface(torus().to(device), field().to(device)), rasterizer, CONFIG, {"seed": 7}).asset
    assert found.mesh.vertices.device.type == device.type
    assert torch.allclose(found.mesh.vertices.cpu(), ring().asset.mesh.vertices, atol=1e-6)
    assert torch.equal(found.mesh.face_uvs.cpu(), ring().asset.mesh.face_uvs)
    differs = np.abs(found.material.maps["base_color"].pixels.astype(int) - ring().asset.material.maps["base_color"].pixels)
    assert differs.mean() < 0.5
    assert asset_files(found, AssetSettings()).keys() == asset_files(ring().asset, AssetSettings()).keys()


def test_the_delivery_stays_on_the_surfaces_device() -> None:
    """Tidying, decimation, unwrapping and what makes files work on the CPU by design; the bake stays where the field is."""
    mesh, colours = torus(), field()
    shape, maps = (tidy, decimate, unwrap, make_lods, collision_hulls), (corner_frames, gutter_texels, to_maps)
    with OneDevice(edges=[*shape, *maps, export_surface, used_points]) as one:
        made = deliver(Surface(mesh.to(one.device), colours.to(one.device)), RASTERIZER, CONFIG, {"seed": 7})
        files = asset_files(made.asset, AssetSettings())
    for found in (made.asset.mesh, made.reference, *(level.mesh for level in made.asset.lods), *made.asset.hulls):
        assert_on(PRETENDED, found.vertices, found.faces)
    assert_on(PRETENDED, made.asset.mesh.uvs, made.asset.mesh.face_uvs)
    assert files == asset_files(ring().asset, AssetSettings())
