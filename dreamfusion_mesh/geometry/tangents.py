"""Tangents of a surface with UVs, the basis of tangent-space normal maps.

Source: Mikkelsen, "Simulation of wrinkled surfaces revisited", 2008 (MikkTSpace).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.areas import cross_2d
from dreamfusion_mesh.geometry.normals import vector_angles


def uv_handedness(uvs: Tensor, faces: Tensor) -> Tensor:
    """[F] int64, +1 where a face's UVs run counter-clockwise, -1 where they are mirrored. uvs [U, 2], faces [F, 3] rows of them."""
    first, second = _edges(uvs, faces)
    return torch.where(cross_2d(first, second) < 0, -1, 1)


def vertex_tangents(vertices: Tensor, uvs: Tensor, normals: Tensor, faces: Tensor) -> Tensor:
    """[N, 4] unit tangents in the direction of growing u, across the normals, and the handedness w = +-1.

    The bitangent is w * cross(normal, tangent), towards growing v.
    vertices [N, 3], uvs [N, 2], unit normals [N, 3], faces [F, 3] rows of all three; the faces round a vertex have one handedness.
    Faces' tangents are laid across the vertex's normal, made unit, and weighted by the face's angle there, laid across it as well. A
    vertex whose faces show no direction of u gets any tangent across its normal.
    """
    handedness = uv_handedness(uvs, faces).to(vertices.dtype)
    (first, second), (first_uv, second_uv) = _edges(vertices, faces), _edges(uvs, faces)
    along_u = (first * second_uv[:, 1:] - second * first_uv[:, 1:]) * handedness[:, None]
    total = torch.zeros_like(normals)
    for corner in range(3):
        row = faces[:, corner]
        normal = normals[row]
        one, other = (_across(vertices[faces[:, (corner + step) % 3]] - vertices[row], normal) for step in (1, 2))
        total.index_add_(0, row, _across(along_u, normal) * vector_angles(one, other)[:, None])
    axis = torch.eye(3, dtype=normals.dtype, device=normals.device)[normals.abs().argmin(dim=1)]
    found = total.norm(dim=1, keepdim=True) > 1e-12
    w = torch.ones_like(normals[:, 0]).index_put((faces.reshape(-1),), handedness.repeat_interleave(3))
    return torch.cat([torch.where(found, _across(total, normals), _across(axis, normals)), w[:, None]], dim=1)


def _edges(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """[F, D] from each face's first corner to its second and third."""
    a, b, c = points[faces].unbind(1)
    return b - a, c - a


def _across(vectors: Tensor, normals: Tensor) -> Tensor:
    """The part of `vectors` [N, 3] across unit `normals`, made unit; zero where there is none."""
    flat = vectors - normals * (vectors * normals).sum(dim=1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
