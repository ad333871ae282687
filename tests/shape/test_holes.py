"""Openings are closed by triangles that leave a closed surface, flat where the opening is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from surfaces import sphere, torus

from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape import holes
from dreamfusion_mesh.shape.holes import Closed, boundary_loops, close_holes


def double(mesh: Mesh, kept: torch.Tensor | None = None) -> Mesh:
    used, faces = mesh.faces[slice(None) if kept is None else kept].unique(return_inverse=True)
    return Mesh(mesh.vertices.double()[used], faces)


def prism(outline: np.ndarray) -> Mesh:
    """The wall of a prism from y = 0 to y = 1 over an outline [N, 2] in x and z, from x towards z; open at both ends."""
    count = len(outline)
    low, high = (np.column_stack([outline[:, 0], np.full(count, y), outline[:, 1]]) for y in (0.0, 1.0))
    a, b = np.arange(count), np.roll(np.arange(count), -1)
    faces = np.concatenate([np.stack([a, b + count, b], axis=1), np.stack([a, a + count, b + count], axis=1)])
    return Mesh(torch.from_numpy(np.concatenate([low, high])), torch.from_numpy(faces))


def star(points: int) -> np.ndarray:
    angle = np.arange(2 * points) * np.pi / points
    return np.where(np.arange(2 * points) % 2, 0.4, 1.0)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def area(outline: np.ndarray) -> float:
    x, y = outline.T
    return abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2


def test_loops_are_found_in_the_direction_of_faces_that_close_them() -> None:
    ball = double(sphere(2))
    first = ball.faces[0]
    loops = boundary_loops(Mesh(ball.vertices, ball.faces[1:]))
    assert [len(loop) for loop in loops] == [3]
    turned = [np.roll(first.numpy(), turn).tolist() for turn in range(3)]
    assert loops[0].tolist() in turned
    assert boundary_loops(ball) == []


def test_loops_that_meet_in_a_vertex_are_two() -> None:
    """A flat square of four faces round its middle, without two that face one another."""
    ball = double(sphere(1))
    around = (ball.faces == 0).any(dim=1).nonzero()[:, 0]
    first = ball.faces[around[0]].tolist()
    apart = next(face for face in around.tolist() if len(set(ball.faces[face].tolist()) & set(first)) == 1)
    kept = torch.ones(len(ball.faces), dtype=torch.bool)
    kept[[int(around[0]), apart]] = False
    assert sorted(len(loop) for loop in boundary_loops(Mesh(ball.vertices, ball.faces[kept]))) == [3, 3]


@pytest.mark.parametrize("points", [3, 20, 60, 400])
def test_ends_of_a_star_shaped_prism_are_closed_flat(points: int) -> None:
    """By the least area, by the plane, and by it again with many corners: the volume is that of the outline, whose shape is not convex."""
    outline = star(points)
    mesh, closed = close_holes(prism(outline))
    assert closed.openings == 2
    assert closed.faces == 2 * (len(outline) - 2)
    found = soundness(mesh)
    assert (found.open_edges, found.nonmanifold_edges, found.inconsistent_edges) == (0, 0, 0)
    assert float(signed_volume(mesh.vertices, mesh.faces)) == pytest.approx(area(outline), rel=1e-9)


def test_the_largest_opening_is_told_by_its_share_of_the_diagonal() -> None:
    outline = star(4)
    _, closed = close_holes(prism(outline))
    assert closed.largest == pytest.approx(8**0.5 / 3, rel=1e-9)  # a box of 2 x 2 over one of 2 x 1 x 2


def test_no_edge_is_doubled_though_it_gave_the_least_area() -> None:
    """A tetrahedron without two faces: the shorter way across the opening is the edge that the other two share."""
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    mesh, closed = close_holes(Mesh(corners, faces[:2]))
    assert (closed.openings, closed.faces) == (1, 2)
    assert {frozenset(face) for face in mesh.faces.tolist()} == {frozenset(face) for face in faces.tolist()}
    assert float(signed_volume(mesh.vertices, mesh.faces)) == pytest.approx(1 / 6, rel=1e-12)


@pytest.mark.parametrize("least_area", [3, 64])
def test_a_fan_is_taken_where_each_way_across_is_an_edge_already(least_area: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An opening of four corners, and two closed tetrahedra below it, each on a pair of them that faces one another."""
    monkeypatch.setattr(holes, "_LEAST_AREA", least_area)
    corners = [[0.0, 0, 0], [1, 0, 0.1], [1, 1, 0], [0, 1, 0.1], [0.5, 0.5, -1], [1, 0.2, -1], [0.2, 1, -1], [0, 0.2, -1], [0.8, 1, -1]]
    cone = [[1, 0, 4], [2, 1, 4], [3, 2, 4], [0, 3, 4]]
    tetrahedra = [[a, b, c] for p, q, r, s in ((0, 2, 5, 6), (1, 3, 7, 8)) for a, b, c in ((p, q, r), (q, p, s), (p, r, s), (r, q, s))]
    vertices = torch.tensor(corners, dtype=torch.float64)
    plain, _ = close_holes(Mesh(vertices, torch.tensor(cone)))
    mesh, closed = close_holes(Mesh(vertices, torch.tensor(cone + tetrahedra)))
    assert (len(plain.vertices), len(mesh.vertices)) == (9, 10)
    assert (closed.openings, closed.faces) == (1, 4)
    assert soundness(mesh).open_edges == soundness(mesh).nonmanifold_edges == 0


def test_many_small_openings_are_closed_by_fans_beyond_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = double(torus())
    kept = torch.ones(len(ring.faces), dtype=torch.bool)
    kept[::50] = False
    plain = close_holes(double(torus(), kept))
    monkeypatch.setattr(holes, "_MOST_LOOPS", 3)
    mesh, closed = close_holes(double(torus(), kept))
    assert closed.openings == plain[1].openings > 40
    assert closed.faces == 3 * closed.openings - 2 * 3
    assert soundness(mesh).open_edges == soundness(mesh).nonmanifold_edges == 0
    assert float(signed_volume(mesh.vertices, mesh.faces)) == pytest.approx(float(signed_volume(ring.vertices, ring.faces)), rel=1e-9)


def test_a_closed_surface_is_left_alone() -> None:
    ball = double(sphere(2))
    mesh, closed = close_holes(ball)
    assert mesh is ball
    assert closed == Closed(0, 0, 0.0)
