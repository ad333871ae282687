"""Where a finished mesh stands."""

from __future__ import annotations

import pytest
import torch
from outcomes import poor_outcome

from dreamfusion_mesh.asset.placement import stand_on_ground
from dreamfusion_mesh.records import Mesh


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
    with poor_outcome("empty", "longest side is 0"):
        stand_on_ground(Mesh(torch.ones(3, 3), torch.tensor([[0, 1, 2]])), 1.0)
    with poor_outcome("empty", "longest side is 0"):
        stand_on_ground(Mesh(torch.ones(0, 3), torch.zeros(0, 3, dtype=torch.int64)), 1.0)
    with poor_outcome("diverged", "longest side is nan"):
        stand_on_ground(Mesh(torch.full((3, 3), float("nan")), torch.tensor([[0, 1, 2]])), 1.0)
