"""From one triangle to a million, from 16 pixels to 2048: what is seen is what the scene's arithmetic says."""

import math

import pytest
import torch
from raster_twin import SQUARE, on_screen, rounded, sphere, within
from torch import Tensor

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.kernels import launch, raster


def sheet(cells: int, side: float, corner: float) -> tuple[Tensor, Tensor]:
    """A square of 2 cells^2 triangles: points [V, 2] float64 in pixels; faces, two a cell in the cells' order."""
    step = torch.arange(cells + 1, dtype=torch.float64) * (side / cells) + corner
    points = torch.stack(torch.meshgrid(step, step, indexing="xy"), dim=-1).reshape(-1, 2)
    a = (torch.arange(cells)[:, None] * (cells + 1) + torch.arange(cells)).reshape(-1)
    b, c, d = a + 1, a + cells + 2, a + cells + 1
    return points, torch.stack((torch.stack((a, b, c), dim=1), torch.stack((a, c, d), dim=1)), dim=1).reshape(-1, 3)


def test_a_million_subpixel_triangles_are_drawn_where_they_lie(rasterizer: Rasterizer) -> None:
    """Cells of a third of a pixel: the one that holds a centre, and the side of its diagonal, follow from the centre's place."""
    cells, side, corner, size = (240, 80.43, 7.3, 96) if rasterizer.stand_in else (720, 241.3, 7.3, 256)
    points, faces = sheet(cells, side, corner)
    assert len(faces) > 1_000_000 or rasterizer.stand_in  # which takes seconds for so many
    face = rasterizer.rasterize(on_screen(points, size, size)[None], faces, (size, size)).face[0]
    cell = (torch.arange(size, dtype=torch.float64) + 0.5 - corner) * (cells / side)
    inside = (cell >= 0) & (cell < cells)
    assert torch.equal(face >= 0, inside[:, None] & inside)
    row, column = cell[:, None].expand(size, size), cell.expand(size, size)
    down, along = row - row.floor(), column - column.floor()
    expected = 2 * (row.floor().long() * cells + column.floor().long()) + (down > along).long()
    clear = torch.stack((down, 1 - down, along, 1 - along, (down - along).abs())).amin(dim=0) > rounded(rasterizer, 1e-3, 0.2)
    clear &= inside[:, None] & inside
    assert clear.sum() > rounded(rasterizer, 0.98, 0.01) * inside.sum() ** 2
    assert torch.equal(face[clear], expected[clear])


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 999), (1023, 31), (2048, 16), (2048, 2048)])
def test_disc_has_its_area_at_every_image_size(rasterizer: Rasterizer, height: int, width: int) -> None:
    """Centres in a circle: the area, within what a circle of that length may gain or lose."""
    if rasterizer.stand_in and height * width > 2**18:  # for which a stand-in takes seconds
        height, width = height // 8, width // 8
    sides = 40
    angles = torch.arange(sides).double() * (2 * math.pi / sides)
    radius = min(height, width) * 0.43
    ring = torch.stack((angles.cos(), angles.sin()), dim=1) * radius + torch.tensor([width, height]) / 2 + 0.137
    points = torch.cat((torch.tensor([[width, height]]) / 2 + 0.137, ring))
    rows = torch.arange(sides)
    faces = torch.stack((torch.zeros_like(rows), rows + 1, (rows + 1) % sides + 1), dim=1)
    face = rasterizer.rasterize(on_screen(points, height, width)[None], faces, (height, width)).face
    area = 0.5 * sides * math.sin(2 * math.pi / sides) * radius**2
    assert face.shape == (1, height, width)
    assert abs((face >= 0).sum().item() - area) < 1.5 * math.sqrt(2 * math.pi * radius)


def test_one_triangle_fills_the_largest_image(rasterizer: Rasterizer) -> None:
    height, width = (512, 511) if rasterizer.stand_in else (2048, 2047)
    corners = torch.tensor([[-9.0, -9], [9000, -9], [-9, 9000]], dtype=torch.float64)
    fragments = rasterizer.rasterize(on_screen(corners, height, width)[None], torch.tensor([[0, 1, 2]]), (height, width))
    assert (fragments.face == 0).all()
    for row, column in ((0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height // 2, width // 3)):
        place = torch.tensor([column + 0.5, row + 0.5], dtype=torch.float64)
        tolerance = within(rasterizer, 1e-9, 1e-2)  # pixels, of 2048
        torch.testing.assert_close(fragments.bary[0, row, column] @ corners, place, rtol=0, atol=tolerance)


def test_coplanar_faces_resolve_the_same_for_any_number_of_threads(rasterizer: Rasterizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty sheets that coincide, each in its own order of triangles and corners."""
    points, faces = sheet(6, 30.0, 1.37)
    draws = torch.Generator().manual_seed(0)
    stack = torch.cat([faces[torch.randperm(len(faces), generator=draws)].roll(layer, dims=1) for layer in range(40)])
    clip = on_screen(points, 33, 34, 0.25)[None].expand(3, -1, -1)
    found = []
    for cores in (1, 2, 5, 2, 1):
        monkeypatch.setattr(launch, "threads", lambda cores=cores: cores)
        monkeypatch.setattr(raster, "threads", lambda cores=cores: cores, raising=False)
        found.append(rasterizer.rasterize(clip, stack, (33, 34)).face)
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert (found[0] >= 0).double().mean() > 0.7
    if rasterizer.limits.first_of_equals:
        assert found[0].max() < len(faces)


def test_sphere_around_the_camera_is_clipped_and_seen_from_inside(rasterizer: Rasterizer) -> None:
    """Every pixel sees the far half, and none the half behind the camera or before the near plane."""
    vertices, faces = sphere(3)
    near, far = 0.3, 4.0
    x, y, z = (vertices * 1.5).unbind(dim=1)
    deep = (far + near) / (near - far) * z + 2 * far * near / (near - far)
    clip = torch.stack((x, y, deep, -z), dim=1)[None]
    fragments = rasterizer.rasterize(clip, faces, (25, 25))
    assert (fragments.face >= 0).all()
    points = rasterizer.interpolate(vertices * 1.5, fragments, faces)
    assert (points[..., 2] < -near).all()
    assert (points.norm(dim=-1) > 1.45).all()
    wall = torch.tensor([[-9.0, -9, 0, 1], [9, -9, 0, 1], [9, 9, 0, 1], [-9, 9, 0, 1]], dtype=torch.float64)
    tilted = wall + wall[:, :1] * torch.tensor([0, 0, 2.0, 0])  # z / w is -2 on the left and 2 on the right: cut at both planes
    seen = rasterizer.rasterize(tilted[None], SQUARE, (9, 92)).face[0] >= 0
    place = (torch.arange(92, dtype=torch.float64) + 0.5) / 46 - 1
    assert torch.equal(seen, (place.abs() < 0.5).expand(9, 92))
