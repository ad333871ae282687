"""Tangents against the surface's own parametrisation, and against the map from UVs to space of a flat patch."""

from __future__ import annotations

import math

import pytest
import torch

from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.geometry.tangents import uv_handedness, vertex_tangents

DOUBLE = torch.float64
SQUARE = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=DOUBLE)
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
UP = torch.tensor([[0.0, 0, 1]], dtype=DOUBLE).expand(4, 3)


def strip(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A half cylinder round Y of radius 1 and its UVs, u along the circle; `count` squares each way."""
    ticks = torch.linspace(0, 1, count + 1, dtype=DOUBLE)
    u, v = (part.reshape(-1) for part in torch.meshgrid(ticks, ticks, indexing="ij"))
    vertices = torch.stack([(math.pi * u).sin(), v, (math.pi * u).cos()], dim=1)
    corner = (torch.arange(count)[:, None] * (count + 1) + torch.arange(count)).reshape(-1)
    step = count + 1
    faces = torch.cat([torch.stack([corner, corner + step, corner + step + 1], 1), torch.stack([corner, corner + step + 1, corner + 1], 1)])
    return vertices, torch.stack([u, v], dim=1), faces


def test_tangents_follow_the_parametrisation() -> None:
    vertices, uvs, faces = strip(24)
    found = vertex_tangents(vertices, uvs, vertex_normals(vertices, faces, "angle"), faces)
    angle = math.pi * uvs[:, 0]
    along = torch.stack([angle.cos(), torch.zeros_like(angle), -angle.sin()], dim=1)
    inner = (uvs[:, 0] > 0) & (uvs[:, 0] < 1)
    assert float((found[inner, :3] - along[inner]).abs().max()) < 1e-2
    assert float((found[:, :3] - along).abs().max()) < math.pi / 24  # at the rim, half a square of turn
    assert (found[:, 3] == 1).all()


@pytest.mark.parametrize(
    "to_uv",
    [[[1.0, 0], [0, 1]], [[0.0, 0.5], [-0.5, 0]], [[-1.0, 0], [0, 1]], [[2.0, 0], [0.7, 0.1]]],
    ids=["same", "turned", "mirrored", "sheared"],
)
def test_the_basis_of_a_flat_patch_is_that_of_its_uvs(to_uv: list[list[float]]) -> None:
    """Source of the signs: glTF 2.0, section 3.7.2.1, bitangent = cross(normal, tangent) * w."""
    linear = torch.tensor(to_uv, dtype=DOUBLE)
    uvs = SQUARE @ linear.T
    vertices = torch.cat([SQUARE, torch.zeros(4, 1, dtype=DOUBLE)], dim=1)
    found = vertex_tangents(vertices, uvs, UP, FACES)
    along_u = torch.linalg.inv(linear)[:, 0]
    assert torch.allclose(found[:, :2], (along_u / along_u.norm()).expand(4, 2), atol=1e-12)
    bitangent = torch.linalg.cross(UP, found[:, :3]) * found[:, 3:]
    assert bool((bitangent[:, :2] @ linear[1] > 0).all())  # v grows along it
    assert torch.equal(uv_handedness(uvs, FACES), found[:2, 3].long())
    assert float(found[0, 3]) == math.copysign(1, torch.linalg.det(linear))


def test_without_a_direction_of_u_any_tangent_across_the_normal_is_given() -> None:
    vertices = torch.cat([SQUARE, torch.zeros(4, 1, dtype=DOUBLE)], dim=1)
    found = vertex_tangents(vertices, torch.zeros(4, 2, dtype=DOUBLE), UP, FACES)
    assert torch.allclose(found[:, :3].norm(dim=1), torch.ones(4, dtype=DOUBLE))
    assert torch.allclose((found[:, :3] * UP).sum(dim=1), torch.zeros(4, dtype=DOUBLE))
