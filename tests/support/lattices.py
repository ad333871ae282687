"""What tests of tetrahedra and their surfaces share."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.tets.grid import Lattice, tet_lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface


def cube_lattice(size: int, dtype: torch.dtype = torch.float64) -> Lattice:
    return tet_lattice(-torch.ones(3, dtype=dtype), torch.ones(3, dtype=dtype), size)


def cube(size: int, dtype: torch.dtype = torch.float64) -> TetGrid:
    return cube_lattice(size, dtype).grid()


def every(lattice: Lattice) -> Tensor:
    return torch.arange(lattice.vertex_count, device=lattice.device)


def ball(lattice: Lattice, radius: float) -> TetSurface:
    return TetSurface(lattice, lattice.positions(every(lattice)).norm(dim=1) - radius)


def euler(mesh: Mesh) -> int:
    return len(mesh.vertices) - 3 * len(mesh.faces) // 2 + len(mesh.faces)


def is_closed(mesh: Mesh) -> bool:
    found = soundness(mesh)
    return len(mesh.faces) > 0 and found.open_edges == found.nonmanifold_edges == found.inconsistent_edges == found.duplicate_faces == 0


def area(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = vertices[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2
