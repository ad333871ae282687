"""Loop's subdivision against its words, its limit in closed form and splines."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from lattices import sheet, sphere
from torch import Tensor

from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.subdivide import loop_subdivide


def _octahedron() -> Mesh:
    axes = torch.eye(3, dtype=torch.float64)
    faces = []
    for x, y, z in itertools.product((0, 1), repeat=3):
        corner = [x, 2 + y, 4 + z]
        faces.append(corner if (x + y + z) % 2 == 0 else corner[::-1])
    return Mesh(torch.stack([axes, -axes], dim=1).reshape(-1, 3), torch.tensor(faces))


def _shaken(mesh: Mesh) -> Mesh:
    draws = torch.Generator().manual_seed(1)
    return Mesh(mesh.vertices + 0.1 * torch.randn(mesh.vertices.shape, generator=draws, dtype=torch.float64), mesh.faces)


def _reference_subdivision(mesh: Mesh) -> tuple[dict[frozenset[int], Tensor], dict[int, Tensor]]:
    """Loop's scheme vertex by vertex: where each edge's new vertex goes, and each old one."""
    vertices, across, near, rim = mesh.vertices, {}, {}, {}
    for face in mesh.faces.tolist():
        for i in range(3):
            a, b, c = face[i], face[(i + 1) % 3], face[(i + 2) % 3]
            across.setdefault(frozenset((a, b)), []).append(c)
            near.setdefault(a, set()).update((b, c))
    for (a, b), corners in ((tuple(edge), corners) for edge, corners in across.items()):
        if len(corners) == 1:
            rim.setdefault(a, []).append(b)
            rim.setdefault(b, []).append(a)
    middles = {}
    for edge, corners in across.items():
        a, b = (vertices[v] for v in edge)
        middles[edge] = (a + b) / 2 if len(corners) == 1 else 3 * (a + b) / 8 + (vertices[corners[0]] + vertices[corners[1]]) / 8
    moved = {}
    for v, others in near.items():
        n = len(others)
        beta = (5 / 8 - (3 / 8 + math.cos(2 * math.pi / n) / 4) ** 2) / n
        if v not in rim:
            moved[v] = (1 - n * beta) * vertices[v] + beta * sum(vertices[w] for w in others)
        elif len(rim[v]) == 2:
            moved[v] = 3 / 4 * vertices[v] + (vertices[rim[v][0]] + vertices[rim[v][1]]) / 8
        else:
            moved[v] = vertices[v]
    return middles, moved


def _fan() -> Mesh:
    """Two triangles that share one vertex alone: its rims cross there. And a vertex without a face."""
    vertices = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [5, 5, 5]], dtype=torch.float64)
    return Mesh(vertices, torch.tensor([[0, 1, 2], [0, 3, 4]]))


@pytest.mark.parametrize("mesh", [_octahedron(), sphere(8), _shaken(sheet(4)), _fan()], ids=["octahedron", "ball", "sheet", "fan"])
def test_every_vertex_goes_where_the_scheme_says(mesh: Mesh) -> None:
    finer = loop_subdivide(mesh)
    middles, moved = _reference_subdivision(mesh)
    old, new = len(mesh.vertices), finer.vertices
    for v in range(old):
        assert torch.allclose(new[v], moved.get(v, mesh.vertices[v]), atol=1e-14)
    assert len(new) == old + len(middles)
    assert len(finer.faces) == 4 * len(mesh.faces)
    seen = set()
    for row, face in enumerate(mesh.faces.tolist()):
        parts = finer.faces[row :: len(mesh.faces)].tolist()
        (p, pq, rp), (q, qr, pq2), (r, rp2, qr2), inner = parts
        assert [p, q, r] == face
        assert (pq, qr, rp) == (pq2, qr2, rp2) == tuple(inner)
        for edge, vertex in (((p, q), pq), ((q, r), qr), ((r, p), rp)):
            assert torch.allclose(new[vertex], middles[frozenset(edge)], atol=1e-14)
            seen.add((frozenset(edge), vertex))
    assert len(seen) == len(middles)


def test_a_closed_surface_stays_closed_and_of_its_kind() -> None:
    mesh = sphere(8)
    finer = loop_subdivide(mesh, 2)
    found = soundness(finer)
    assert found.sound
    assert len(finer.vertices) - len(finer.faces) // 2 == len(mesh.vertices) - len(mesh.faces) // 2 == 2
    assert len(finer.faces) == 16 * len(mesh.faces)
    assert signed_volume(finer.vertices, finer.faces).item() > 0.9 * signed_volume(mesh.vertices, mesh.faces).item()


def test_the_octahedrons_corners_reach_their_limit() -> None:
    """The limit of a vertex of n neighbours is (1 - n w) v + w sum, w = 1 / (3 / (8 b) + n), whatever comes between (Loop 1987)."""
    beta = (5 / 8 - (3 / 8) ** 2) / 4
    weight = 1 / (3 / (8 * beta) + 4)
    limit = 1 - 4 * weight  # the four neighbours' sum is zero
    reached = loop_subdivide(_octahedron(), 6).vertices[:6].norm(dim=1)
    assert torch.allclose(reached, torch.full((6,), limit, dtype=torch.float64), rtol=2e-4)


def test_a_flat_regular_sheet_keeps_its_inside() -> None:
    mesh = sheet(5)
    finer = loop_subdivide(mesh)
    inside = ((mesh.vertices[:, :2] > 0) & (mesh.vertices[:, :2] < 5)).all(dim=1)
    assert torch.allclose(finer.vertices[: len(inside)][inside], mesh.vertices[inside], atol=1e-14)
    assert float(finer.vertices[:, 2].abs().max()) == 0


def test_the_rim_becomes_its_cubic_spline() -> None:
    """In the limit a vertex of a cubic B-spline's polygon lies at 2/3 of itself and 1/6 of its neighbours: the rim knows no inside."""
    mesh = _shaken(sheet(4))
    uses = Counter(frozenset(pair) for face in mesh.faces.tolist() for pair in itertools.combinations(face, 2))
    beside: dict[int, list[int]] = {}
    for a, b in (tuple(edge) for edge, n in uses.items() if n == 1):
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    finer = loop_subdivide(mesh, 6)
    for v, (a, b) in beside.items():
        limit = 2 / 3 * mesh.vertices[v] + (mesh.vertices[a] + mesh.vertices[b]) / 6
        assert torch.allclose(finer.vertices[v], limit, atol=1e-3)
    assert len(beside) == 16


def test_gradients_match_finite_differences() -> None:
    for mesh in (_octahedron(), _shaken(sheet(2))):
        vertices = mesh.vertices.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda v, faces=mesh.faces: loop_subdivide(Mesh(v, faces), 2).vertices, (vertices,))


def test_an_empty_mesh_stays_empty() -> None:
    vertices = torch.zeros(0, 3, requires_grad=True)
    finer = loop_subdivide(Mesh(vertices, torch.zeros(0, 3, dtype=torch.int64)), 2)
    assert finer.vertices.shape == finer.faces.shape == (0, 3)
    finer.vertices.sum().backward()
    assert vertices.grad is not None


def test_no_times_is_the_mesh_itself() -> None:
    mesh = _octahedron()
    assert loop_subdivide(mesh, 0) is mesh


@pytest.mark.parametrize(
    ("faces", "hole", "message"),
    [
        ([[0, 1, 6]], None, r"faces: shape \[1, 3\] with vertices 0 to 6, expected 0 to 5"),
        ([[0, 1, -1]], None, r"faces: shape \[1, 3\] with vertices -1 to 1"),
        ([[0, 1, 2], [3, 4, 3]], None, r"faces: row 1 has a corner twice \(\[3, 4, 3\]\)"),
        ([[0, 1, 2], [1, 0, 3], [0, 1, 4]], None, r"faces: edge \[0, 1\] has 3 faces"),
        ([[0, 1, 2]], 4, r"vertices: shape \[6, 3\] holds NaN or infinity, first in row 4"),
    ],
)
def test_an_invalid_mesh_is_refused_by_name(faces: list[list[int]], hole: int | None, message: str) -> None:
    vertices = _octahedron().vertices.clone()
    if hole is not None:
        vertices[hole, 1] = math.nan
    with pytest.raises(ValueError, match=message):
        loop_subdivide(Mesh(vertices, torch.tensor(faces)))
    with pytest.raises(ValueError, match="times -1"):
        loop_subdivide(_octahedron(), -1)
