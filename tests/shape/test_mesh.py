"""Normals, smoothness and placing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.asset.placement import stand_on_ground
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.normals import face_normals, vertex_normals
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.regularisers import laplacian_loss, normal_consistency_loss
from dreamfusion_mesh.shape.tets.grid import tet_grid
from dreamfusion_mesh.shape.tets.marching import marching_tets


def _sphere(size: int, radius: float = 0.7) -> Mesh:
    grid = tet_grid(-torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64), size)
    return marching_tets(grid.vertices, grid.vertices.norm(dim=1) - radius, grid)


def _patch(count: int) -> tuple[Tensor, Tensor]:
    """A flat sheet of `count` x `count` squares, each cut along the same diagonal, facing +Z."""
    ticks = torch.arange(count + 1, dtype=torch.float64)
    x, y = torch.meshgrid(ticks, ticks, indexing="ij")
    corner = (torch.arange(count)[:, None] * (count + 1) + torch.arange(count)).reshape(-1)
    lower = torch.stack([corner, corner + count + 1, corner + count + 2], dim=1)
    upper = torch.stack([corner, corner + count + 2, corner + 1], dim=1)
    return torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(-1, 3), torch.cat([lower, upper])


def _roof(angle: float) -> tuple[Tensor, Tensor]:
    """Two equal triangles over one edge, the second folded down by `angle`."""
    side = [-math.cos(angle), 0.0, -math.sin(angle)]
    return torch.tensor([[0, 0, 0], [0, 1, 0], [1, 0, 0], side], dtype=torch.float64), torch.tensor([[0, 2, 1], [0, 1, 3]])


def test_normals_of_a_sheet_are_exact() -> None:
    vertices, faces = _patch(3)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    assert torch.equal(face_normals(vertices, faces), up.expand(len(faces), 3))
    assert torch.allclose(vertex_normals(vertices, faces), up.expand(len(vertices), 3), atol=1e-15)


def test_vertex_normals_weigh_by_area() -> None:
    vertices = torch.tensor([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])  # areas 1 along +Z, 1/2 along +X
    expected = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64) / 5**0.5
    assert torch.allclose(vertex_normals(vertices, faces)[0], expected, atol=1e-15)


def test_normals_of_a_sphere_converge_to_the_radial_direction() -> None:
    tilt = []
    for size in (16, 32):
        mesh = _sphere(size)
        normals = vertex_normals(mesh.vertices, mesh.faces)
        tilt.append(float((1 - torch.cosine_similarity(normals, mesh.vertices, dim=1)).mean()))
    assert tilt[0] < 2e-3
    assert tilt[1] < tilt[0] / 2.5


def test_faces_without_area_have_no_normal_and_finite_gradients() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 0, 1]])
    assert torch.equal(face_normals(vertices, faces)[1:].detach(), torch.zeros(2, 3))
    total = vertex_normals(vertices, faces).sum() + normal_consistency_loss(vertices, faces) + laplacian_loss(vertices, faces)
    total.backward()
    assert vertices.grad is not None
    assert bool(vertices.grad.isfinite().all())


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, 3.0])
def test_consistency_is_one_minus_the_cosine(angle: float) -> None:
    vertices, faces = _roof(angle)
    assert normal_consistency_loss(vertices, faces).item() == pytest.approx(1 - math.cos(angle), abs=1e-12)


def test_consistency_weighs_by_the_smaller_area() -> None:
    """A strip of three: bends of 0.3 over areas (1/2, 1/2) and of pi/2 over (1/2, 1/20)."""
    vertices, faces = _roof(0.3)
    normal = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    vertices = torch.cat([vertices, (vertices[2] + vertices[1])[None] / 2 - normal * 0.1 / 2**0.5])
    faces = torch.cat([faces, torch.tensor([[1, 2, 4]])])
    expected = (0.5 * (1 - math.cos(0.3)) + 0.05 * 1) / 0.55
    assert normal_consistency_loss(vertices, faces).item() == pytest.approx(expected, rel=1e-12)


def _solid(vertices: list[list[float]]) -> tuple[Tensor, Tensor]:
    """The convex hull of a few points on a sphere round the origin, as all outward triples without a point beyond."""
    points = torch.tensor(vertices, dtype=torch.float64)
    triples = torch.cartesian_prod(*[torch.arange(len(points))] * 3)
    triples = triples[(triples[:, 0] < triples[:, 1]) & (triples[:, 0] < triples[:, 2]) & (triples[:, 1] != triples[:, 2])]
    a, b, c = points[triples].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    beyond = ((points[None] - a[:, None]) * normal[:, None]).sum(dim=-1).amax(dim=1)
    return points, triples[(beyond < 1e-9) & (normal.norm(dim=1) > 1e-9)]


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], 2 / 3),  # offset 4/3 of the radius, edge^2 8/3 of its square
        ([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], 1 / 2),  # neighbours' mean at the centre
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_laplacian_of_regular_solids_whatever_their_size(corners: list[list[float]], expected: float, scale: float) -> None:
    vertices, faces = _solid(corners)
    assert len(faces) == 2 * len(vertices) - 4
    assert laplacian_loss(vertices * scale, faces).item() == pytest.approx(expected, rel=1e-12)


def test_laplacian_leaves_a_flat_regular_sheet_alone_and_flattens_a_bump() -> None:
    vertices, faces = _patch(6)
    inner = ((vertices[:, :2] >= 2) & (vertices[:, :2] <= 4)).all(dim=1)
    flat = vertices.clone().requires_grad_()
    laplacian_loss(flat, faces).backward()
    assert flat.grad is not None
    assert float(flat.grad[inner].abs().max()) < 1e-15
    height, middle = 0.1, 3 * 7 + 3
    bumped = vertices.clone()
    bumped[middle, 2] = height
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    unit, lifted = ((v[edges[:, 0]] - v[edges[:, 1]]).square().sum(dim=1).mean() for v in (vertices, bumped))
    gained = laplacian_loss(bumped, faces) * lifted - laplacian_loss(vertices, faces) * unit
    assert gained.item() == pytest.approx(height**2 * (1 + 6 / 36) / len(vertices), rel=1e-9)


def _consistency_in_words(vertices: Tensor, faces: Tensor, at: Tensor) -> Tensor:
    """Face pair by face pair; the weights are those at the vertices `at`."""
    beside: dict[frozenset[int], list[int]] = {}
    for row, face in enumerate(faces.tolist()):
        for i in range(3):
            beside.setdefault(frozenset((face[i], face[(i + 1) % 3])), []).append(row)

    def normal(row: int, spots: Tensor) -> Tensor:
        a, b, c = spots[faces[row]]
        return torch.linalg.cross(b - a, c - a)

    total, weights = vertices.new_zeros(()), vertices.new_zeros(())
    for first, second in (pair for pair in beside.values() if len(pair) == 2):
        weight = torch.minimum(normal(first, at).norm(), normal(second, at).norm())
        m, n = normal(first, vertices), normal(second, vertices)
        total = total + weight * (1 - (m @ n) / (m.norm() * n.norm()))
        weights = weights + weight
    return total / weights


def _laplacian_in_words(vertices: Tensor, faces: Tensor, at: Tensor) -> Tensor:
    """Vertex by vertex on a closed mesh; the unit is that at the vertices `at`."""
    near: dict[int, set[int]] = {}
    for face in faces.tolist():
        for i in range(3):
            near.setdefault(face[i], set()).update(face)
    offsets = [vertices[v] - torch.stack([vertices[w] for w in ring - {v}]).mean(dim=0) for v, ring in near.items()]
    lengths = [(at[v] - at[w]).square().sum() for v, ring in near.items() for w in ring - {v}]
    return torch.stack(offsets).square().sum(dim=1).mean() / torch.stack(lengths).mean()


@pytest.mark.parametrize(
    ("loss", "words"),
    [(normal_consistency_loss, _consistency_in_words), (laplacian_loss, _laplacian_in_words)],
    ids=["normals", "laplacian"],
)
def test_losses_and_their_gradients_are_those_of_the_definition(
    loss: Callable[[Tensor, Tensor], Tensor], words: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> None:
    """Told face by face and vertex by vertex in float64, weights and units held constant, with finite differences of that."""
    mesh = _sphere(3)
    draws = torch.Generator().manual_seed(0)
    vertices = (mesh.vertices + 0.03 * torch.randn(mesh.vertices.shape, generator=draws, dtype=torch.float64)).requires_grad_()
    at = vertices.detach().clone()
    ours = loss(vertices, mesh.faces)
    assert ours.item() == pytest.approx(words(at, mesh.faces, at).item(), rel=1e-12)
    (slope,) = torch.autograd.grad(ours, vertices)
    for _ in range(12):
        way = torch.randn(at.shape, generator=draws, dtype=torch.float64)
        step = 1e-5
        moved = (words(at + step * way, mesh.faces, at) - words(at - step * way, mesh.faces, at)) / (2 * step)
        assert float((slope * way).sum()) == pytest.approx(float(moved), rel=1e-5, abs=1e-8)


def test_gradients_of_normals_match_finite_differences() -> None:
    mesh = _sphere(3)
    for normals in (face_normals, vertex_normals):
        vertices = mesh.vertices.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda v, of=normals: of(v, mesh.faces), (vertices,))


def test_a_placed_mesh_stands_on_the_ground_at_the_asked_size() -> None:
    draws = torch.Generator().manual_seed(4)
    vertices = torch.randn(50, 3, generator=draws) * torch.tensor([0.3, 0.5, 0.2]) + torch.tensor([0.1, -0.7, 0.4])
    uvs = torch.rand(7, 2, generator=draws)
    faces, face_uvs = torch.randint(0, 50, (9, 3), generator=draws), torch.randint(0, 7, (9, 3), generator=draws)
    mesh = Mesh(vertices, faces, uvs, face_uvs)
    placed, scale, offset = stand_on_ground(mesh, 1.7)
    low, high = placed.vertices.amin(dim=0), placed.vertices.amax(dim=0)
    assert float(low[1]) == 0
    assert float((high - low).max()) == pytest.approx(1.7, rel=1e-6)
    assert torch.allclose((low + high)[[0, 2]], torch.zeros(2), atol=1e-6)
    assert torch.allclose(vertices * scale + offset, placed.vertices, atol=1e-6)
    assert placed.uvs is uvs
    assert placed.face_uvs is face_uvs
    assert placed.faces is faces


def test_a_mesh_without_extent_cannot_be_placed() -> None:
    with pytest.raises(RunFailed, match="longest side is 0"):
        stand_on_ground(Mesh(torch.ones(3, 3), torch.tensor([[0, 1, 2]])), 1.0)
    with pytest.raises(RunFailed, match="longest side is 0"):
        stand_on_ground(Mesh(torch.ones(0, 3), torch.zeros(0, 3, dtype=torch.int64)), 1.0)
