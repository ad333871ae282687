"""How smooth a mesh is: closed forms, the definition face by face, and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from lattices import sheet, sphere
from torch import Tensor

from dreamfusion_mesh.shape.regularisers import laplacian_loss, normal_consistency_loss


def _roof(angle: float) -> tuple[Tensor, Tensor]:
    """Two equal triangles over one edge, the second folded down by `angle`."""
    side = [-math.cos(angle), 0.0, -math.sin(angle)]
    return torch.tensor([[0, 0, 0], [0, 1, 0], [1, 0, 0], side], dtype=torch.float64), torch.tensor([[0, 2, 1], [0, 1, 3]])


def test_faces_without_area_have_finite_gradients() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 0, 1]])
    (normal_consistency_loss(vertices, faces) + laplacian_loss(vertices, faces)).backward()
    assert vertices.grad is not None
    assert bool(vertices.grad.isfinite().all())


def _bend(angle: float) -> float:
    """Charbonnier's penalty of the chord between two unit normals."""
    return 0.15 * (math.hypot(2 * math.sin(angle / 2), 0.15) - 0.15)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, 3.0])
def test_consistency_is_that_of_the_two_normals(angle: float) -> None:
    vertices, faces = _roof(angle)
    assert normal_consistency_loss(vertices, faces).item() == pytest.approx(_bend(angle), abs=1e-12)


def test_consistency_is_one_minus_the_cosine_where_faces_hardly_bend() -> None:
    vertices, faces = _roof(0.01)
    assert normal_consistency_loss(vertices, faces).item() == pytest.approx(1 - math.cos(0.01), rel=2e-3)


def test_a_sharp_edge_costs_hardly_more_than_a_round_one() -> None:
    """A right angle at one edge, against three of 30 degrees; by 1 - cos it would cost two and a half times as much."""
    vertices, faces = _roof(math.pi / 2)
    gentle, _ = _roof(math.pi / 6)
    sharp, third = (normal_consistency_loss(spots, faces).item() for spots in (vertices, gentle))
    assert sharp < 1.2 * 3 * third
    assert 1 - math.cos(math.pi / 2) > 2.4 * 3 * (1 - math.cos(math.pi / 6))


def test_consistency_weighs_by_the_smaller_area() -> None:
    """A strip of three: bends of 0.3 over areas (1/2, 1/2) and of pi/2 over (1/2, 1/20)."""
    vertices, faces = _roof(0.3)
    normal = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    vertices = torch.cat([vertices, (vertices[2] + vertices[1])[None] / 2 - normal * 0.1 / 2**0.5])
    faces = torch.cat([faces, torch.tensor([[1, 2, 4]])])
    expected = (0.5 * _bend(0.3) + 0.05 * _bend(math.pi / 2)) / 0.55
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
    mesh = sheet(6)
    vertices, faces = mesh.vertices, mesh.faces
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


def _reference_consistency(vertices: Tensor, faces: Tensor, at: Tensor) -> Tensor:
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
        chord = (m / m.norm() - n / n.norm()).square().sum()
        total = total + weight * 0.15 * ((chord + 0.15**2).sqrt() - 0.15)
        weights = weights + weight
    return total / weights


def _reference_laplacian(vertices: Tensor, faces: Tensor, at: Tensor) -> Tensor:
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
    [(normal_consistency_loss, _reference_consistency), (laplacian_loss, _reference_laplacian)],
    ids=["normals", "laplacian"],
)
def test_losses_and_their_gradients_are_those_of_the_definition(
    loss: Callable[[Tensor, Tensor], Tensor], words: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> None:
    """Told face by face and vertex by vertex in float64, weights and units held constant, with finite differences of that."""
    mesh = sphere(3)
    draws = torch.Generator().manual_seed(0)
    vertices = (mesh.vertices + 0.03 * torch.randn(mesh.vertices.shape, generator=draws, dtype=torch.float64)).requires_grad_()
    at = vertices.detach().clone()
    ours = loss(vertices, mesh.faces)
    assert ours.item() == pytest.approx(words(at, mesh.faces, at).item(), rel=1e-12)
    (slope,) = torch.autograd.grad(ours, vertices)
    for _ in range(12):
        way = torch.randn(at.shape, generator=draws, dtype=torch.float64)
        step = 1e-6
        moved = (words(at + step * way, mesh.faces, at) - words(at - step * way, mesh.faces, at)) / (2 * step)
        assert float((slope * way).sum()) == pytest.approx(float(moved), rel=1e-5, abs=1e-8)
