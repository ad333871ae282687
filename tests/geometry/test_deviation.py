"""The distance between surfaces, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
import trimesh
from surfaces import as_mesh, cube, sphere

from dreamfusion_mesh.geometry.deviation import deviation_from
from dreamfusion_mesh.geometry.samples import spread_points
from dreamfusion_mesh.records import Mesh


def moved(mesh: Mesh, scale: float = 1.0, offset: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    return Mesh(mesh.vertices.double() * scale + torch.tensor(offset), mesh.faces)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_balls_in_balls_and_moved_cubes(unit: float) -> None:
    ball, box = moved(sphere(4), unit), moved(cube(), unit)
    assert deviation_from(ball)(moved(ball, 1.1)) == pytest.approx(0.08 / (1.6 * 3**0.5), rel=0.01)
    assert deviation_from(box)(moved(box, 1.0, (0.25 * unit, 0, 0))) == pytest.approx(0.25 / 3**0.5, rel=1e-4)
    assert deviation_from(box)(box) < 1e-6


def test_it_is_the_larger_of_both_directions() -> None:
    """A spike that the one has: all of the other lies near it, and not the reverse."""
    plain = cube()
    spike = trimesh.creation.cone(radius=0.01, height=1.0).apply_translation([0, 0, 0.5])
    both = Mesh(torch.cat([plain.vertices, torch.tensor(spike.vertices).float()]), torch.cat([plain.faces, torch.tensor(spike.faces) + 8]))
    expected = 1.0 / math.sqrt(3)
    assert deviation_from(plain)(both) == pytest.approx(expected, rel=1e-3)
    assert deviation_from(both)(plain) == pytest.approx(expected * 3**0.5 / math.sqrt(2 + 2.0**2), rel=1e-3)


def test_unused_vertices_do_not_count_and_surfaces_without_area_are_infinitely_far() -> None:
    plain = cube()
    stray = Mesh(torch.cat([plain.vertices, torch.full((1, 3), 9.0)]), plain.faces)
    assert deviation_from(plain)(stray) < 1e-6
    flat = Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    assert deviation_from(plain)(flat) == deviation_from(flat)(plain) == float("inf")


def test_points_are_spread_by_area() -> None:
    box = trimesh.creation.box([3, 1, 1])
    mesh = as_mesh(box.vertices, box.faces)
    points, face = spread_points(mesh.vertices.double(), mesh.faces, 14_000)
    area = torch.tensor(box.area_faces)
    assert torch.allclose(face.bincount(minlength=12).double() / 14_000, area / area.sum(), atol=2e-4)
    assert points.abs().amax(dim=0).tolist() == pytest.approx([1.5, 0.5, 0.5])
    for axis, half in enumerate((1.5, 0.5, 0.5)):
        inside = points[points[:, axis].abs() < half - 1e-9]
        assert float(inside[:, axis].mean()) == pytest.approx(0, abs=0.01 * half)
        assert float(inside[:, axis].std()) == pytest.approx(half / 3**0.5, rel=0.02)
