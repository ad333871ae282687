"""A whole material: the field's colour to a step, seams that agree at every mip, maps by their roles, and settings' ends."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from one_device import OneDevice
from scipy.ndimage import binary_erosion
from surfaces import cube, torus
from texture_lookups import bilinear, seam

from dreamfusion_mesh.asset.bake.gutter import gutter_texels
from dreamfusion_mesh.asset.bake.maps import to_maps
from dreamfusion_mesh.asset.bake.material import bake_material
from dreamfusion_mesh.asset.bake.texels import sample_texels
from dreamfusion_mesh.asset.finishes import PLAIN, Finishes, finishes_of
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import FieldSettings, TextureSettings
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.kernels.trace import closest_point
from dreamfusion_mesh.records import Material, Mesh, linear_to_srgb, srgb_to_linear, srgb_to_oklab
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.shape.field import HashField

RASTERIZER = resolve_rasterizer("auto", "cpu")
SETTINGS = TextureSettings(size=512, padding=8, denoise=0, occlusion_rays=4)
REFERENCE = torus(128, 64)


@lru_cache(maxsize=1)
def mapped() -> Mesh:
    return unwrap(torus(), SETTINGS).mesh


@lru_cache(maxsize=1)
def small() -> Mesh:
    return unwrap(torus(), TextureSettings(size=64, padding=1)).mesh


@lru_cache(maxsize=1)
def field() -> HashField:
    made = HashField(FieldSettings(levels=4, table_size_log2=14, coarsest=4, finest=16, hidden=16), torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.table.mul_(2.5e4)  # its first values are near zero, one grey everywhere
    return made


@lru_cache(maxsize=1)
def material() -> Material:
    return bake_material(mapped(), REFERENCE, RASTERIZER, SETTINGS, field().albedo, finishes_of("a golden ring", SETTINGS)).material


def test_the_base_colour_is_the_fields_at_ten_thousand_points() -> None:
    mesh, draws = mapped(), np.random.default_rng(0)
    texels = sample_texels(mesh, RASTERIZER, SETTINGS, None)
    corners = mesh.vertices[mesh.faces].double().numpy()
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face, shares = draws.choice(len(area), 10_000, p=area / area.sum()), draws.dirichlet([1, 1, 1], 10_000)[..., None]
    uv = (mesh.uvs.double().numpy()[mesh.face_uvs][face] * shares).sum(axis=1)
    points = torch.tensor((corners[face] * shares).sum(axis=1), dtype=torch.float32)
    with torch.no_grad():
        wanted = field().albedo(closest_point(points, REFERENCE.vertices, REFERENCE.faces)[0]).numpy()
    error = np.abs(bilinear(material().maps["base_color"].pixels, uv) - 255 * wanted).max(axis=1)
    away = binary_erosion(texels.covered.numpy(), iterations=2)[((1 - uv[:, 1]) * 512).astype(int), (uv[:, 0] * 512).astype(int)]
    assert away.mean() > 0.8
    assert np.ptp(wanted, axis=0).min() > 0.5
    assert error[away].mean() <= 1
    assert np.percentile(error[away], 99) <= 6


def test_both_sides_of_a_seam_agree_at_mips_0_to_3() -> None:
    light = srgb_to_linear(torch.tensor(material().maps["base_color"].pixels / 255))
    one, other = seam(mapped())
    for mip in range(4):
        shown = linear_to_srgb(light).numpy()
        first, second = (srgb_to_oklab(torch.tensor(bilinear(shown, side))) for side in (one, other))
        assert np.percentile(100 * (first - second).norm(dim=1), 95) <= 2, mip  # Oklab's unit is 100 of CIE's, about
        light = light.view(len(light) // 2, 2, len(light) // 2, 2, 3).mean(dim=(1, 3))


def test_maps_have_their_roles_and_factors_are_one() -> None:
    made = material()
    assert list(made.maps) == ["base_color", "orm", "normal"]
    assert (made.roughness_factor, made.metallic_factor, made.base_color_factor) == (1, 1, (1, 1, 1))
    orm = made.maps["orm"].pixels
    assert (orm[..., 1] == round(0.25 * 255)).all()
    assert (orm[..., 2] == 255).all()
    inner, outer = (orm[..., 0].min(), orm[..., 0].max())
    assert inner < 200 < outer == 255  # the hole sees the ring


@pytest.mark.parametrize("name", ["denoise", "occlusion_rays", "roughness", "metallic", "normal_map"])
def test_settings_change_their_own_map_alone(name: str) -> None:
    plain = {"size": 64, "padding": 1, "denoise": 0, "occlusion_rays": 0, "roughness": 0.0, "metallic": 0.0, "normal_map": False}
    values = {"denoise": 1.0, "occlusion_rays": 1024, "roughness": 1.0, "metallic": 1.0, "normal_map": True}
    made = []
    for change in ({}, {name: values[name]}):
        settings = TextureSettings.model_validate({**plain, **change})
        made.append(bake_material(small(), REFERENCE, RASTERIZER, settings, field().albedo, finishes_of("a ring", settings)).material.maps)
    before, after = made
    changed = {role for role in after if role not in before or not np.array_equal(before[role].pixels, after[role].pixels)}
    assert changed == {"denoise": {"base_color"}, "normal_map": {"normal"}}.get(name, {"orm"})
    assert "normal" not in before
    assert (before["orm"].pixels == [255, 0, 0]).all()
    if name in ("roughness", "metallic"):
        assert (after["orm"].pixels == [255, *((255, 0) if name == "roughness" else (0, 255))]).all()


def test_parts_are_told_by_the_colour_of_the_surface() -> None:
    gold, wood = torch.tensor([212, 175, 55]) / 255, torch.tensor([139, 94, 52]) / 255
    settings = TextureSettings(size=128, padding=2, occlusion_rays=0, normal_map=False)
    mesh = unwrap(cube(), settings).mesh
    finishes = finishes_of("a wooden box with a golden lid", settings)
    found = bake_material(mesh, None, RASTERIZER, settings, lambda at: torch.where(at[:, 1:2] > 0.2, gold, wood), finishes).material
    texels = sample_texels(mesh, RASTERIZER, settings, None)
    orm, height = found.maps["orm"].pixels.reshape(-1, 3)[texels.rows], texels.points[:, 1]
    assert (np.abs(orm[height > 0.25].astype(int) - [255, 64, 255]) <= 3).all()
    assert (np.abs(orm[height < 0.15].astype(int) - [255, 178, 0]) <= 3).all()


def test_a_material_is_the_same_on_a_device() -> None:
    settings = TextureSettings(size=64, padding=1, occlusion_rays=8)
    mesh = small()
    with OneDevice(edges=[gutter_texels, corner_frames, to_maps]) as one:
        there = bake_material(
            mesh.to(one.device), REFERENCE.to(one.device), RASTERIZER, settings, lambda at: at.abs(), Finishes(PLAIN)
        ).material.maps
    here = bake_material(mesh, REFERENCE, RASTERIZER, settings, lambda at: at.abs(), Finishes(PLAIN)).material.maps
    for role, image in here.items():
        assert np.array_equal(image.pixels, there[role].pixels), role
