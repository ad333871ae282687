"""Normals of faces and vertices: exact on a sheet, second order on a sphere, finite gradients everywhere."""

from __future__ import annotations

import torch
from lattices import sheet, sphere

from dreamfusion_mesh.geometry.normals import face_normals, vertex_normals


def test_normals_of_a_sheet_are_exact() -> None:
    mesh = sheet(3)
    vertices, faces = mesh.vertices, mesh.faces
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
        mesh = sphere(size)
        normals = vertex_normals(mesh.vertices, mesh.faces)
        tilt.append(float((1 - torch.cosine_similarity(normals, mesh.vertices, dim=1)).mean()))
    assert tilt[0] < 2e-3
    assert tilt[1] < tilt[0] / 2.5


def test_faces_without_area_have_no_normal_and_finite_gradients() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 0, 1]])
    assert torch.equal(face_normals(vertices, faces)[1:].detach(), torch.zeros(2, 3))
    vertex_normals(vertices, faces).sum().backward()
    assert vertices.grad is not None
    assert bool(vertices.grad.isfinite().all())


def test_gradients_of_normals_match_finite_differences() -> None:
    mesh = sphere(3)
    for normals in (face_normals, vertex_normals):
        vertices = mesh.vertices.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda v, of=normals: of(v, mesh.faces), (vertices,))
