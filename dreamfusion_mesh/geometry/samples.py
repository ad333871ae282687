"""Points spread over a surface."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.areas import area_vectors


def spread_points(vertices: Tensor, faces: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`count` points [N, 3] at equal steps of area along the faces and the faces they lie on [N]; none where the surface has no area.

    The same points every time: within faces they follow a sequence of low discrepancy (Roberts' R2).
    """
    reached = area_vectors(vertices, faces).norm(dim=1).cumsum(0)
    if not (len(faces) and reached[-1] > 0):
        return vertices[:0], faces[:0, 0]
    steps = torch.arange(count, dtype=vertices.dtype, device=vertices.device)
    face = torch.searchsorted(reached, (steps + 0.5) / count * reached[-1], right=True).clamp_max(len(faces) - 1)
    u, v = (steps * 0.7548776662466927) % 1, (steps * 0.5698402909980532) % 1
    u, v = torch.where(u + v > 1, 1 - u, u)[:, None], torch.where(u + v > 1, 1 - v, v)[:, None]
    a, b, c = vertices[faces[face]].unbind(1)
    return a + u * (b - a) + v * (c - a), face
