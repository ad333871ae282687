"""The ends of the ranges hold: the code that takes a setting gives finite, right results there."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from assets import material
from setting_ranges import all_numbers
from small_fields import scattered
from stub_score import StubScore
from surfaces import cube, torus
from written_files import box

from dreamfusion_mesh.asset.bake.material import bake_material
from dreamfusion_mesh.asset.export.files import asset_files
from dreamfusion_mesh.asset.finishes import finishes_of
from dreamfusion_mesh.asset.placement import stand_on_ground
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.audit.report import audit
from dreamfusion_mesh.audit.rows import validity
from dreamfusion_mesh.config import (
    AssetSettings,
    AuditSettings,
    CoarseSettings,
    FieldSettings,
    FineSettings,
    GuidanceSettings,
    MeshSettings,
    TextureSettings,
    ViewSettings,
)
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.guidance.answers import guide, rescale
from dreamfusion_mesh.guidance.prompts import view_words
from dreamfusion_mesh.guidance.schedule import TimeSchedule, timestep_range
from dreamfusion_mesh.records import Asset, Mesh
from dreamfusion_mesh.render.previews import preview_sheet
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import needs_normals, shader
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.simplify import decimate
from dreamfusion_mesh.shape.tidy import tidy
from dreamfusion_mesh.stages.coarse import fit_field
from dreamfusion_mesh.stages.fine import fit_surface
from dreamfusion_mesh.stages.start import start_from_field

CPU = torch.device("cpu")
RASTERIZER = resolve_rasterizer("warp", "cpu")
FIELD = FieldSettings(levels=2, table_size_log2=8, coarsest=4, finest=8, hidden=8)


def ends(group: str, *left_out: str) -> list[Any]:
    """(name, value) of each end of each number in a group of settings, spans with both values at that end."""
    found: dict[str, tuple[str, Any]] = {}
    for number in all_numbers():
        name = number.name.removeprefix(f"{group}.")
        if number.name.startswith(f"{group}.") and "." not in name and name not in left_out:
            for end in (number.low, number.high):
                found.setdefault(f"{name}={end:g}", (name, end if number.spot is None else [end, end]))
    return [pytest.param(*value, id=key) for key, value in found.items()]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("normals", ["analytic", "finite_differences"])
@pytest.mark.parametrize(("name", "value"), ends("coarse.field", "table_size_log2"))
def test_a_field_is_finite_with_its_gradients(name: str, value: float, normals: str) -> None:
    values = {**FIELD.model_dump(), "normals": normals, name: value}
    if name in ("coarsest", "finest"):
        values |= {"coarsest": min(4, value) if name == "finest" else value, "finest": max(8, value) if name == "coarsest" else value}
    field = HashField(FieldSettings.model_validate(values), seeded())
    points = torch.cat([torch.zeros(1, 3), scattered(200), 1e-3 * scattered(50), torch.ones(1, 3)])
    sample = field(points, True)
    (sample.density.clamp_max(100).sum() + sample.normals.sum() + sample.albedo.sum()).backward()
    assert sample.normals.norm(dim=1).max() <= 1 + 1e-5
    assert all(part.isfinite().all() for part in (sample.density, sample.normals, sample.albedo))
    assert all(parameter.grad.isfinite().all() for parameter in field.parameters())
    assert sample.density.min() >= 0


@pytest.mark.parametrize(("name", "value"), ends("views"))
def test_views_see_a_field_from_where_they_may_stand(name: str, value: Any) -> None:
    room = {"position_jitter": {"distance": [4, 6]}, "lambertian": {"textureless": 0}, "textureless": {"lambertian": 0}}
    settings = ViewSettings.model_validate({name: value, **room.get(name, {})})
    seen = random_views(8, settings, 6, 6, seeded(), CPU)
    field, occupancy = HashField(FIELD, seeded()), OccupancyGrid(8)
    occupancy.update(field.density, seeded(), 0)
    render = render_volume(field, occupancy, seen, shader(seen), 16, seeded(), needs_normals(seen))
    assert all(getattr(render, part.name).isfinite().all() for part in dataclasses.fields(render))
    assert 0 <= render.rgb.min() <= render.rgb.max() <= 1 + 1e-5
    turned = seen.cameras.to_world[:, :3, :3]
    torch.testing.assert_close(turned.transpose(1, 2) @ turned, torch.eye(3).expand(8, 3, 3), rtol=0, atol=1e-4)


@pytest.mark.parametrize("occupancy_size", [8, 48, pytest.param(256, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("samples", [8, 1024])
def test_samples_and_occupied_cells_need_not_fit_one_another(samples: int, occupancy_size: int) -> None:
    """Fewer samples are coarser; a fog without edges is seen alike by all."""
    fog = HashField(FieldSettings(levels=1, table_size_log2=8, hidden=4, blob_density=0, density_bias=0), seeded())
    occupancy = OccupancyGrid(occupancy_size)
    occupancy.update(fog.density, seeded(), 0)
    seen = random_views(1, ViewSettings(lambertian=0, textureless=0), 8, 8, seeded(), CPU)
    cases = ((occupancy, samples), (OccupancyGrid(8), 64))
    found, wanted = (render_volume(fog, cells, seen, shader(seen), count, seeded(), False).alpha for cells, count in cases)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("scale", "perp_neg", "share"), [(scale, keep, share) for scale in (0, 200) for keep in (0, 100) for share in (0, 1)]
)
def test_guided_predictions_are_finite(scale: float, perp_neg: float, share: float) -> None:
    GuidanceSettings(scale=scale, perp_neg=perp_neg, rescale=share)
    uncond, text, other = torch.randn(3, 2, 3, 8, 8, generator=seeded()).unbind(0)
    guided = rescale(guide(uncond, text, scale, (other,), perp_neg), text, share)
    assert guided.isfinite().all()
    assert share == 0 or torch.allclose(guided.std(), text.std(), rtol=0.2)
    assert scale or share or torch.equal(guided, uncond)


def test_times_and_angles_hold_at_both_ends() -> None:
    for low, high in ((0, 1), (0, 1e-9), (1 - 1e-9, 1)):
        settings = GuidanceSettings(t_min=(low, low), t_max=(high, high))
        for progress in (0, 0.5, 1):
            for kind in get_args(TimeSchedule):
                first, last = timestep_range(kind, progress, settings.t_min, settings.t_max, 1000)
                assert 0 <= first <= last <= 999
    angles = torch.tensor([0.0, 0.1, math.pi / 2, 3.0])
    rows = {(front, over): view_words(angles, 0 * angles + 0.01, front, over).tolist() for front in (0, 90) for over in (0, 90)}
    assert rows == {(0, 0): [3] * 4, (90, 0): [3] * 4, (0, 90): [0, 1, 1, 1], (90, 90): [0, 0, 2, 2]}


SMALL = {"samples": 16, "occupancy_size": 8, "occupancy_interval": 1, "field": FIELD}


@pytest.mark.parametrize(("name", "value"), ends("coarse", "steps", "size", "views", "samples", "occupancy_size"))
def test_a_coarse_step_leaves_a_finite_field(name: str, value: float) -> None:
    values = {"steps": 2, "size": 8, "views": 1, **SMALL, name: value}
    settings, views = CoarseSettings.model_validate(values), ViewSettings(lambertian=1, textureless=0)
    coarse, _ = fit_field(StubScore(residual=0.5), settings, views, GuidanceSettings(), seeded(), CPU)
    assert all(parameter.isfinite().all() for parameter in coarse.field.parameters())


@pytest.mark.parametrize(("name", "value"), ends("fine", "steps", "size", "views", "tet_size", "volume_subdivisions", "threshold"))
def test_a_fine_step_leaves_a_finite_surface(name: str, value: Any) -> None:
    apart = {"t_min": {"t_max": [1, 1]}, "t_max": {"t_min": [0, 0]}}
    if name in apart:
        value = [min(value[0], 0.999) if name == "t_min" else max(value[0], 0.001)] * 2
    base = {"steps": 2, "size": 16, "views": 1, "tet_size": 8, "threshold": 2.0}
    settings, views = FineSettings.model_validate({**base, **apart.get(name, {}), name: value}), ViewSettings()
    score, guidance = StubScore(residual=0.5), GuidanceSettings()
    coarse, _ = fit_field(score, CoarseSettings(steps=1, size=8, views=1, **SMALL), views, guidance, seeded(), CPU)
    start = start_from_field(coarse, 16, settings, views, 0.02, seeded())
    surface, _ = fit_surface(start, coarse.field, score, RASTERIZER, settings, views, guidance, seeded())
    assert surface.mesh.vertices.isfinite().all()
    assert len(surface.mesh.faces)


@pytest.mark.parametrize("smooth", [0, 100])
@pytest.mark.parametrize("smallest_part", [0, 1])
@pytest.mark.parametrize("triangles", [50, 5_000_000])
@pytest.mark.parametrize("max_deviation", [1e-5, 1])
def test_a_surface_is_tidied_and_decimated(smooth: int, smallest_part: float, triangles: int, max_deviation: float) -> None:
    settings = MeshSettings(smooth=smooth, smallest_part=smallest_part, triangles=triangles, max_deviation=max_deviation)
    found = decimate(tidy(torus(), settings).mesh, settings.triangles, settings.max_deviation)
    assert soundness(weld(found.mesh)).sound
    assert len(found.mesh.faces) <= triangles
    assert bool(found.warnings) == (triangles == 50)  # with which a ring's volume shrinks


@pytest.mark.parametrize(("size", "padding"), [(64, 0), (64, 8), (4096, 0), (4096, 64)])
def test_charts_are_laid_out_with_the_padding_that_was_asked(size: int, padding: int) -> None:
    found = unwrap(cube(), TextureSettings(size=size, padding=padding))
    assert found.padding == padding
    assert not found.reason
    assert found.mesh.uvs.isfinite().all()


def test_the_time_for_unwrapping_may_be_none_or_a_week() -> None:
    none, week = (unwrap(cube(), TextureSettings(size=64, padding=1, unwrap_seconds=seconds)) for seconds in (0, 604_800))
    assert (none.method, week.method) == ("box", "uvunwrap")
    assert none.reason.startswith("uvunwrap was not done after 0 s; xatlas was not done after 0 s; box projection instead")
    assert not week.reason


@pytest.mark.parametrize(
    "given",
    [
        {"supersample": 1},
        {"supersample": 4},
        {"denoise": 0},
        {"denoise": 1e-30},
        {"denoise": 1},
        {"occlusion_rays": 0},
        {"occlusion_rays": 1024},
        {"roughness": 0, "metallic": 1},
        {"roughness": 1, "metallic": 0},
    ],
)
def test_a_texture_is_baked(given: dict[str, Any]) -> None:
    settings = TextureSettings(size=64, padding=1, **given)
    mesh = unwrap(cube(), settings).mesh
    baked = bake_material(mesh, mesh, RASTERIZER, settings, lambda points: points.abs().clamp(0, 1), finishes_of("a cube", settings))
    maps = baked.material.maps
    assert all(image.pixels.shape == (64, 64, 3) for image in maps.values())
    assert np.ptp(maps["base_color"].pixels) > 100 or given.get("denoise") == 1
    assert (maps["orm"].pixels[..., 0] > 250).all()  # nothing hides any of a cube
    wanted = [round(255 * given.get(name, plain)) for name, plain in (("roughness", 0.8), ("metallic", 0.0))]
    assert np.unique(maps["orm"].pixels[..., 1:].reshape(-1, 2), axis=0).tolist() == [wanted]


def _delivered(mesh: Mesh, side: float, folder: Path) -> tuple[dict[int, str], np.ndarray]:
    """The status of the audit's rows for a ring of that size, and its preview."""
    placed, scale, offset = stand_on_ground(mesh, side)
    asset = Asset("ring", placed, material(), {})
    for name, content in asset_files(asset, AssetSettings()).items():
        (folder / name).write_bytes(content)
    found = audit(folder / "ring.glb", AuditSettings(), 5000, side, Mesh(mesh.vertices * scale + offset, mesh.faces))
    return {row.number: row.status for row in found.rows}, preview_sheet(placed, asset.material.maps["base_color"].pixels, RASTERIZER, 32)


def test_an_asset_of_any_size_looks_and_measures_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "find_validator", lambda: None)
    number = next(number for number in all_numbers() if number.name == "asset.longest_side")
    mesh = unwrap(torus(24, 12), TextureSettings(size=256, padding=2)).mesh
    (rows, picture), *others = (_delivered(mesh, side, tmp_path) for side in (1.0, number.low, number.high))
    assert rows[2] == rows[3] == rows[6] == rows[13] == "pass"
    for same, seen in others:
        assert same == rows
        assert (np.abs(seen.astype(int) - picture) > 8).mean() < 1e-3


@pytest.mark.parametrize(("name", "value"), ends("audit"))
def test_a_file_is_measured_with_any_threshold(name: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "find_validator", lambda: None)
    found = audit(box().write(tmp_path), AuditSettings.model_validate({name: value}), 1200, 1.0)
    strict = {"smallest_shell": 1, "narrow_texels": 4096, "mip": 6, "utilisation": 1, "density_ratio": 1}
    rows = {"smallest_shell": 2, "narrow_texels": 5, "mip": 5, "utilisation": 6, "density_ratio": 6}
    failed = {row.number for row in found.rows if row.status == "fail"}
    assert failed <= ({rows[name]} if strict.get(name) == value else set())


@pytest.mark.parametrize("size", [16, pytest.param(2048, marks=pytest.mark.sweep)])
def test_a_preview_of_any_size_is_drawn(size: int) -> None:
    mesh, _, _ = stand_on_ground(unwrap(cube(), TextureSettings(size=64, padding=1)).mesh, 1.0)
    sheet = preview_sheet(mesh, np.full((64, 64, 3), 200, np.uint8), RASTERIZER, size)
    assert sheet.shape == (4 * size, 4 * size, 3)
    assert 0.2 < (sheet.max(axis=2) > 90).mean() < 0.9
