"""The bake: colours where they belong to a fraction of a step, no black, no seam."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from one_device import PRETENDED, OneDevice, assert_on
from outcomes import poor_outcome
from surfaces import SURFACES, sphere, torus
from texture_lookups import bilinear, seam, truth

from dreamfusion_mesh.asset.bake import maps as maps_module
from dreamfusion_mesh.asset.bake import texels as texels_module
from dreamfusion_mesh.asset.bake.base_color import bake_base_color
from dreamfusion_mesh.asset.bake.gutter import gutter_texels
from dreamfusion_mesh.asset.bake.maps import bake_map
from dreamfusion_mesh.asset.bake.texels import sample_texels
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.contracts import Probe, Rasterizer
from dreamfusion_mesh.records import Mesh, linear_to_srgb, srgb_to_linear
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

RASTERIZER = resolve_rasterizer("auto", "cpu")
SETTINGS = TextureSettings(size=256, padding=2, supersample=2)
FLAT = torch.tensor([[0, 1, 2], [0, 2, 3]])


@lru_cache(maxsize=8)
def mapped(name: str) -> Mesh:
    return unwrap(SURFACES[name](), SETTINGS).mesh


def panel() -> Mesh:
    """A square from (-1, -1, 0) to (1, 1, 0) on the middle half of the texture each way."""
    square = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    return Mesh(square, FLAT, square[:, :2] / 4 + 0.5, FLAT)


def base_color(mesh: Mesh, albedo: Probe, rasterizer: Rasterizer, settings: TextureSettings, reference: Mesh | None) -> np.ndarray:
    return bake_base_color(sample_texels(mesh, rasterizer, settings, reference), albedo).pixels


def position(points: torch.Tensor) -> torch.Tensor:
    return points * 0.5 + 0.5


@pytest.mark.parametrize(("name", "side"), [("torus", 1), ("torus", 2), ("cube", 3)])
def test_a_linear_colour_is_exact_at_covered_centres(name: str, side: int) -> None:
    """Samples lie evenly around a centre, so only rounding, and the bend of sRGB over one texel, are left."""
    mesh = mapped(name)
    image = base_color(mesh, position, RASTERIZER, SETTINGS.model_copy(update={"supersample": side}), None)
    covered, points = truth(mesh, 256)
    uncovered = np.pad(~covered, 1, constant_values=True)
    inner = covered & ~np.lib.stride_tricks.sliding_window_view(uncovered, (3, 3)).any(axis=(2, 3))
    error = np.abs(image[inner] - 255 * (points[inner] * 0.5 + 0.5))
    assert error.max() < 1
    assert abs(float(np.mean(image[inner] - 255 * (points[inner] * 0.5 + 0.5)))) < 0.05
    assert np.abs(image[covered] - 255 * (points[covered] * 0.5 + 0.5)).max() < 3  # at the rim a texel is the mean of its covered part


def test_one_colour_fills_the_whole_texture() -> None:
    color = torch.tensor([0.2, 0.5, 0.9])
    image = base_color(mapped("blob"), lambda points: color.expand(len(points), 3), RASTERIZER, SETTINGS, None)
    assert (image == np.round(color.numpy() * 255)).all()


def test_row_0_is_the_top_and_column_0_the_left() -> None:
    image = base_color(panel(), position, RASTERIZER, SETTINGS, None)
    assert image[70, 70, 0] < 20  # x, left
    assert image[70, 70, 1] > 235  # y, top
    assert image[185, 185, 0] > 235
    assert image[185, 185, 1] < 20


def test_samples_are_averaged_in_linear_light() -> None:
    """Half of each texel's samples see black, half white: half the light is sRGB 188, not 128."""

    def stripes(points: torch.Tensor) -> torch.Tensor:
        sample = torch.floor((points[:, :1] + 1) * 128).long()  # two of these a texel of the panel's 128
        return (sample % 2).float().expand(-1, 3)

    image = base_color(panel(), stripes, RASTERIZER, SETTINGS, None)
    half = int(torch.round(255 * linear_to_srgb(torch.tensor(0.5))))
    assert half == 188
    assert (image[64:192, 64:192] == half).all()
    assert float(srgb_to_linear(torch.tensor(half / 255))) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("name", SURFACES)
def test_both_sides_of_a_seam_have_one_colour(name: str) -> None:
    mesh = mapped(name)
    image = base_color(mesh, position, RASTERIZER, SETTINGS, None)
    one, other = seam(mesh)
    assert len(one) > 30
    difference = np.abs(bilinear(image, one) - bilinear(image, other)).max(axis=1)
    assert np.percentile(difference, 95) < 1.5
    assert difference.max() < 4


def test_gutters_continue_the_surface_and_nothing_is_black() -> None:
    mesh = mapped("torus")
    image = base_color(mesh, lambda points: position(points).clamp_min(0.2), RASTERIZER, SETTINGS, None)
    assert image.min() >= 51
    covered, _ = truth(mesh, 256)
    from scipy.ndimage import distance_transform_edt

    distance, nearest = distance_transform_edt(~covered, return_indices=True)
    close = (distance > 0) & (distance <= SETTINGS.padding)
    step = np.abs(image[close].astype(int) - image[nearest[0], nearest[1]][close].astype(int)).max(axis=1)
    texel = 255 * 0.5 * np.sqrt(sum(_areas(mesh)) / covered.sum())  # colour's change over one texel, at most
    assert step.max() <= 2 * (SETTINGS.padding + 1) * texel


def _areas(mesh: Mesh) -> np.ndarray:
    a, b, c = mesh.vertices[mesh.faces].double().numpy().transpose(1, 0, 2)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def test_colours_come_from_the_reference_surface() -> None:
    """A coarse ball's texels are moved out to the fine ball: the colour is that of radius 0.8, where the coarse one lies deeper."""
    coarse = unwrap(sphere(1), SETTINGS).mesh

    def radius(points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1, keepdim=True).expand(-1, 3)

    plain = base_color(coarse, radius, RASTERIZER, SETTINGS, None)
    moved = base_color(coarse, radius, RASTERIZER, SETTINGS, sphere(4))
    assert plain.min() < 0.79 * 255 - 2
    assert moved.min() >= 0.799 * 255 - 1
    assert moved.max() <= 204


def test_bands_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = mapped("sphere")
    whole = base_color(mesh, position, RASTERIZER, SETTINGS, None)
    assert np.array_equal(base_color(mesh, position, RASTERIZER, SETTINGS, None), whole)
    monkeypatch.setattr(texels_module, "_SAMPLES", 256 * 4 * 17)  # bands of 17 rows, the last of one
    monkeypatch.setattr(maps_module, "_POINTS", 9999)
    banded = base_color(mesh, position, RASTERIZER, SETTINGS, None)
    assert np.abs(banded.astype(int) - whole.astype(int)).max() <= 1
    assert (banded != whole).mean() < 1e-3


def test_the_field_is_evaluated_without_gradients() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    image = base_color(mapped("cube"), lambda points: position(points) * weight, RASTERIZER, SETTINGS, None)
    assert weight.grad is None
    assert image.dtype == np.uint8


def test_colours_outside_the_range_are_bounded() -> None:
    image = base_color(mapped("cube"), lambda points: points * 100, RASTERIZER, SETTINGS, None)
    assert (image.min(), image.max()) == (0, 255)


def test_what_cannot_be_baked_is_refused() -> None:
    with pytest.raises(ValueError, match="unwrap"):
        base_color(torus(8, 4), position, RASTERIZER, SETTINGS, None)
    with poor_outcome("diverged", "not finite at"):
        base_color(mapped("cube"), lambda points: points / 0, RASTERIZER, SETTINGS, None)
    with pytest.raises(ValueError, match=r"shape \[\d+, 1\] for \d+ points, expected \[\d+, 3\]"):
        base_color(mapped("cube"), lambda points: points[:, :1], RASTERIZER, SETTINGS, None)
    dot = panel()
    with pytest.raises(ValueError, match="covers no texel"):
        base_color(Mesh(dot.vertices, FLAT, dot.uvs * 1e-4 + 0.5, FLAT), position, RASTERIZER, SETTINGS, None)


def test_linear_maps_are_averaged_without_conversion() -> None:
    """Half of each texel's samples are 0, half 1: in plain data that is 128, where light would be 188."""

    def stripes(points: torch.Tensor) -> torch.Tensor:
        sample = torch.floor((points[:, :1] + 1) * 128).long()
        return torch.cat([sample % 2, points[:, 1:2] > 0], dim=1).float()

    baked = bake_map(sample_texels(panel(), RASTERIZER, SETTINGS, None), stripes, 2, "linear")
    assert baked.color_space == "linear"
    assert baked.pixels.shape == (256, 256, 2)
    assert (baked.pixels[64:192, 64:192, 0] == 128).all()
    assert (baked.pixels[:128, :, 1] == 255).all()  # row 0 is the top, and gutters go on
    assert (baked.pixels[128:, :, 1] == 0).all()


def test_one_set_of_texels_serves_any_number_of_maps() -> None:
    texels = sample_texels(mapped("torus"), RASTERIZER, SETTINGS, None)
    first = bake_base_color(texels, position).pixels
    bake_map(texels, lambda points: points[:, :1], 1, "linear")
    assert np.array_equal(bake_base_color(texels, position).pixels, first)


def test_every_covered_sample_lies_on_the_reference_surface() -> None:
    texels = sample_texels(mapped("torus"), RASTERIZER, SETTINGS, torus(192, 96))
    points = torch.cat([band.points for band in texels.bands()] + [texels.gutter_points])
    ring = points[:, :2].norm(dim=1) - 0.6
    assert float((torch.stack([ring, points[:, 2]], dim=1).norm(dim=1) - 0.25).abs().max()) < 1e-3


def test_each_device_bakes_the_same_colours(device: torch.device) -> None:
    mesh, reference = mapped("torus"), torus(64, 32)
    found = base_color(mesh.to(device), position, resolve_rasterizer("warp", device), SETTINGS, reference.to(device))
    differs = np.abs(found.astype(int) - base_color(mesh, position, RASTERIZER, SETTINGS, reference))
    assert differs.max() <= 3  # a sample on a chart's border may fall to either side
    assert (differs > 0).mean() < 0.01


def test_the_bake_stays_on_one_device() -> None:
    """numpy is given the texels at the charts' edges, and the finished image; nothing else leaves the device."""
    mesh, reference = mapped("torus"), torus(64, 32)
    expected = base_color(mesh, position, RASTERIZER, SETTINGS, reference)
    with OneDevice(edges=[gutter_texels, maps_module.to_image]) as one:
        texels = sample_texels(mesh.to(one.device), RASTERIZER, SETTINGS, reference.to(one.device))
        image = bake_base_color(texels, position).pixels
    assert_on(PRETENDED, texels.covered, texels.gutter, texels.gutter_points)
    assert np.array_equal(image, expected)
