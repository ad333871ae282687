"""Vertex normals weighted by angle: those of the smooth surface, however it is cut into triangles."""

from __future__ import annotations

import math

import pytest
import torch
from surfaces import cube, sphere, torus

from dreamfusion_mesh.geometry.normals import vector_angles, vertex_normals
from dreamfusion_mesh.records import Mesh

DOUBLE = torch.float64


def test_normals_of_a_sphere_point_outwards() -> None:
    """An icosphere's vertices lie on the sphere, so angle-weighted normals tend to the positions' directions."""
    ball = sphere(4)
    normals = vertex_normals(ball.vertices, ball.faces, "angle")
    assert float(torch.cosine_similarity(normals, ball.vertices, dim=1).min()) > math.cos(math.radians(0.5))
    assert torch.allclose(normals.norm(dim=1), torch.ones(len(normals)), atol=1e-6)


def test_normals_of_a_cube_are_its_diagonals_however_its_sides_are_cut() -> None:
    box = cube()
    normals = vertex_normals(box.vertices.double(), box.faces, "angle")
    assert torch.allclose(normals, box.vertices.double().sign() / 3**0.5, atol=1e-12)
    area = vertex_normals(box.vertices.double(), box.faces, "area")
    assert float((area - normals).abs().max()) > 0.1  # corners with one or two triangles of a side


def test_each_face_counts_by_its_angle() -> None:
    """A face along +Z with a right angle at the corner, and one along +X with 45 degrees there."""
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 1, 1]], dtype=DOUBLE)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    expected = torch.tensor([1.0, 0, 2], dtype=DOUBLE) / 5**0.5
    assert torch.allclose(vertex_normals(vertices, faces, "angle")[0], expected, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-7, 1e7])
def test_size_does_not_change_a_normal(scale: float) -> None:
    ring = torus()
    vertices = ring.vertices.double()
    assert torch.allclose(vertex_normals(vertices * scale, ring.faces, "angle"), vertex_normals(vertices, ring.faces, "angle"), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_faces_back_to_back_and_without_area_give_no_normal(dtype: torch.dtype) -> None:
    triangle = torch.tensor([[0.3, 0.1, 0], [1.7, 0.2, 0.4], [0.9, 1.1, -0.2]], dtype=dtype)
    both = torch.tensor([[0, 1, 2], [1, 0, 2]])
    assert not vertex_normals(triangle, both, "angle").any()
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]], dtype=dtype)
    assert not vertex_normals(line, both[:1], "angle").any()


def test_gradients_agree_with_finite_differences() -> None:
    ball = sphere(0)
    weights = torch.linspace(-1, 1, ball.vertices.numel(), dtype=DOUBLE).reshape(-1, 3)

    def total(vertices: torch.Tensor) -> torch.Tensor:
        return (vertex_normals(vertices, ball.faces, "angle") * weights).sum()

    assert torch.autograd.gradcheck(total, ball.vertices.double().requires_grad_())


def test_small_angles_are_exact() -> None:
    turn = torch.tensor([1e-9, 1e-3, math.pi - 1e-6], dtype=DOUBLE)
    other = torch.stack([turn.cos(), turn.sin(), torch.zeros(3, dtype=DOUBLE)], dim=1)
    one = torch.tensor([[1.0, 0, 0]], dtype=DOUBLE).expand(3, 3)
    assert torch.allclose(vector_angles(one, other * 5), turn, rtol=1e-9, atol=0)


def test_other_weights_are_refused() -> None:
    mesh: Mesh = cube()
    with pytest.raises(ValueError, match="'none': expected 'area' or 'angle'"):
        vertex_normals(mesh.vertices, mesh.faces, "none")  # type: ignore[arg-type]
