"""The bake: colours where they belong to a fraction of a step, no black, no seam."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from one_device import PRETENDED, OneDevice, assert_on
from outcomes import poor_outcome
from surfaces import SURFACES, cube, sphere, torus
from texture_lookups import bilinear, seam, truth

from dreamfusion_mesh.asset.bake import maps as maps_module
from dreamfusion_mesh.asset.bake.gutter import gutter_texels
from dreamfusion_mesh.asset.bake.maps import bake_values, to_maps
from dreamfusion_mesh.asset.bake.texels import Texels, sample_texels
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.contracts import Probe, Rasterizer
from dreamfusion_mesh.geometry.normals import face_normals
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.kernels.interpolate import interpolate
from dreamfusion_mesh.kernels.trace import SurfaceTree
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
    return colored(sample_texels(mesh, rasterizer, settings, reference), albedo, settings.supersample)


def colored(texels: Texels, albedo: Probe, supersample: int = 2) -> np.ndarray:
    return to_maps(texels, {"base_color": bake_values(texels, albedo, 3, "srgb", supersample)})["base_color"].pixels


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


def stripes(points: torch.Tensor) -> torch.Tensor:
    """[N, 1] two samples wide, of two samples in each of the panel's 128 texels, and half a texel off: every texel is half black."""
    sample = torch.floor((points[:, :1] + 1) * 128).long()
    return ((sample + 1) // 2 % 2).float()


def test_samples_are_averaged_in_linear_light() -> None:
    """Half of each texel's samples see black, half white: half the light is sRGB 188, not 128."""
    image = base_color(panel(), lambda points: stripes(points).expand(-1, 3), RASTERIZER, SETTINGS, None)
    half = int(torch.round(255 * linear_to_srgb(torch.tensor(0.5))))
    assert half == 188
    assert (image[65:191, 65:191] == half).all()
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


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = mapped("sphere")

    def busy(points: torch.Tensor) -> torch.Tensor:
        return (40 * points).sin() / 2 + 0.5

    whole = base_color(mesh, busy, RASTERIZER, SETTINGS, None)
    assert np.array_equal(base_color(mesh, busy, RASTERIZER, SETTINGS, None), whole)
    monkeypatch.setattr(maps_module, "_POINTS", 9999)
    assert np.array_equal(base_color(mesh, busy, RASTERIZER, SETTINGS, None), whole)


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
        base_color(Mesh(dot.vertices, FLAT, dot.uvs + 2, FLAT), position, RASTERIZER, SETTINGS, None)


def test_linear_values_are_averaged_without_conversion() -> None:
    """Half of each texel's samples are 0, half 1: in plain data that is 0.5, where light would be sRGB 0.735."""
    texels = sample_texels(panel(), RASTERIZER, SETTINGS, None)
    upper = bake_values(texels, lambda points: torch.cat([stripes(points), (points[:, 1:2] > 0).float()], dim=1), 2, "linear", 2)
    image = texels.image(upper)[65:191, 65:191]
    assert (image[..., 0] == 0.5).all()
    assert (image[:63, :, 1] == 1).all()  # row 0 is the top
    assert (image[63:, :, 1] == 0).all()


def test_texels_are_sampled_more_finely_where_colours_change_alone() -> None:
    asked = []

    def half(points: torch.Tensor) -> torch.Tensor:
        asked.append(len(points))
        return (points[:, :1] > 0.001).float().expand(-1, 3)

    texels = sample_texels(panel(), RASTERIZER, SETTINGS, None)
    bake_values(texels, half, 3, "srgb", 2)
    rows = 128 + 2 * SETTINGS.padding
    assert asked[0] == len(texels.rows)
    assert len(asked) == 1 + 4
    assert all(2 * rows - 8 <= count <= 4 * rows for count in asked[1:])


def test_one_set_of_texels_serves_any_number_of_maps() -> None:
    texels = sample_texels(mapped("torus"), RASTERIZER, SETTINGS, None)
    first = colored(texels, position)
    bake_values(texels, lambda points: points[:, :1], 1, "linear")
    assert np.array_equal(colored(texels, position), first)


def test_every_texel_lies_on_the_reference_surface() -> None:
    points = sample_texels(mapped("torus"), RASTERIZER, SETTINGS, torus(192, 96)).points
    ring = points[:, :2].norm(dim=1) - 0.6
    assert float((torch.stack([ring, points[:, 2]], dim=1).norm(dim=1) - 0.25).abs().max()) < 1e-3


def test_a_thin_plate_keeps_the_colours_of_its_sides() -> None:
    """Its mesh lies lower than the plate by more than its thickness, so the nearest points of its upper side are of the lower one."""
    plate = cube()
    thin = Mesh(plate.vertices * torch.tensor([1.0, 0.02, 1.0]), plate.faces)
    mesh = unwrap(thin, SETTINGS).mesh
    low = Mesh(mesh.vertices - torch.tensor([0.0, 0.03, 0.0]), mesh.faces, mesh.uvs, mesh.face_uvs)
    texels = sample_texels(low, RASTERIZER, SETTINGS, thin)
    normals = face_normals(low.vertices, low.faces)[texels.on_mesh.faces]
    inner = (texels.points[:, [0, 2]].abs() < 0.49).all(dim=1) & (normals[:, 1].abs() > 0.9)
    assert int(inner.sum()) > 5000
    assert torch.equal(texels.points[inner, 1].sign(), normals[inner, 1].sign())
    nearest = SurfaceTree(thin.vertices, thin.faces).closest(interpolate(low.vertices, low.faces, texels.on_mesh))[0]
    assert (nearest[inner, 1].sign() != normals[inner, 1].sign()).float().mean() > 0.3  # what nearest points alone would do


def test_far_texels_have_the_mean_colour() -> None:
    texels = sample_texels(panel(), RASTERIZER, SETTINGS, None)
    image = colored(texels, position)
    known = texels.known().numpy()
    assert (image[0, 0] == np.round(image[known].mean(axis=0))).all()
    assert (image[64 - 2 - 16, 100] == image[64 - 2, 100]).all()  # 16 texels beyond the gutter repeat it
    assert (image[64 - 2 - 17, 100] == image[0, 0]).all()


def test_a_mesh_of_slivers_has_every_face_in_the_texture() -> None:
    """Faces far narrower than a texel are at its centre by chance alone."""
    size = 64
    x = torch.linspace(-1, 1, 2 * size + 1)
    corners = torch.stack([torch.cat([x, x]), torch.cat([0 * x - 1, 0 * x + 1]), torch.zeros(4 * size + 2)], dim=1)
    first = torch.arange(2 * size)[::4]
    strips = torch.stack([first, first + 1, first + 2 * size + 2], dim=1)
    uvs = corners[:, :2] / 2.2 + 0.5
    texels = sample_texels(Mesh(corners, strips, uvs, strips), RASTERIZER, TextureSettings(size=size, padding=1), None)
    assert set(texels.on_mesh.faces.tolist()) == set(range(len(strips)))


def test_each_device_bakes_the_same_colours(device: torch.device) -> None:
    mesh, reference = mapped("torus"), torus(64, 32)
    found = base_color(mesh.to(device), position, resolve_rasterizer("warp", device), SETTINGS, reference.to(device))
    differs = np.abs(found.astype(int) - base_color(mesh, position, RASTERIZER, SETTINGS, reference))
    assert differs.max() <= 3  # a sample on a chart's border may fall to either side
    assert (differs > 0).mean() < 0.01


def test_the_bake_stays_on_one_device() -> None:
    """numpy is given the texels at the charts' edges, the corners of the mesh, and the finished image; nothing else leaves the device."""
    mesh, reference = mapped("torus"), torus(64, 32)
    expected = base_color(mesh, position, RASTERIZER, SETTINGS, reference)
    with OneDevice(edges=[gutter_texels, corner_frames, to_maps]) as one:
        texels = sample_texels(mesh.to(one.device), RASTERIZER, SETTINGS, reference.to(one.device))
        image = colored(texels, position)
    assert_on(PRETENDED, texels.covered, texels.rows, texels.points, texels.across, *texels.places, *texels.on_mesh)
    assert np.array_equal(image, expected)
