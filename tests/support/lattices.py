"""What tests of tetrahedra and their surfaces share."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.tets.grid import Lattice, tet_lattice
from dreamfusion_mesh.shape.tets.marching import marching_tets
from dreamfusion_mesh.shape.tets.surface import TetSurface


def cube_lattice(size: int, dtype: torch.dtype = torch.float64) -> Lattice:
    return tet_lattice(-torch.ones(3, dtype=dtype), torch.ones(3, dtype=dtype), size)


def cube(size: int, dtype: torch.dtype = torch.float64) -> TetGrid:
    return cube_lattice(size, dtype).grid()


def every(lattice: Lattice) -> Tensor:
    return torch.arange(lattice.vertex_count, device=lattice.device)


def ball(lattice: Lattice, radius: float) -> TetSurface:
    return TetSurface(lattice, lattice.positions(every(lattice)).norm(dim=1) - radius)


def sphere(size: int, radius: float = 0.7) -> Mesh:
    grid = cube(size)
    return marching_tets(grid.vertices, grid.vertices.norm(dim=1) - radius, grid)


def sheet(count: int) -> Mesh:
    """A flat sheet of `count` x `count` squares, each cut along the same diagonal, facing +Z: six neighbours to each vertex inside."""
    ticks = torch.arange(count + 1, dtype=torch.float64)
    x, y = torch.meshgrid(ticks, ticks, indexing="ij")
    corner = (torch.arange(count)[:, None] * (count + 1) + torch.arange(count)).reshape(-1)
    lower = torch.stack([corner, corner + count + 1, corner + count + 2], dim=1)
    upper = torch.stack([corner, corner + count + 2, corner + 1], dim=1)
    return Mesh(torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(-1, 3), torch.cat([lower, upper]))


def euler(mesh: Mesh) -> int:
    return len(mesh.vertices) - 3 * len(mesh.faces) // 2 + len(mesh.faces)


def is_closed(mesh: Mesh) -> bool:
    found = soundness(mesh)
    return len(mesh.faces) > 0 and found.open_edges == found.nonmanifold_edges == found.inconsistent_edges == found.duplicate_faces == 0


def area(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = vertices[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2
