"""Cubes of twelve triangles, exact in float64."""

from __future__ import annotations

import torch

from dreamfusion_mesh.records import Mesh


def cube(low: float = 0.0, side: float = 1.0) -> Mesh:
    x, y, z = torch.meshgrid(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3, indexing="ij")
    quads = torch.tensor([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    return Mesh(torch.stack([x, y, z], dim=-1).reshape(-1, 3) * side + low, torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]))


def joined(first: Mesh, second: Mesh) -> Mesh:
    return Mesh(torch.cat([first.vertices, second.vertices]), torch.cat([first.faces, second.faces + len(first.vertices)]))
