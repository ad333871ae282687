"""Normals of faces and vertices."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.areas import area_vectors


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F, 3] unit normals, towards the outside; zero where a face has no area. Differentiable."""
    return unit_vectors(area_vectors(vertices, faces))


def vertex_normals(vertices: Tensor, faces: Tensor, weights: Literal["area", "angle"] = "area") -> Tensor:
    """[V, 3] unit normals, the weighted mean of the faces round a vertex; zero where there is none. Differentiable.

    weights  "area" is cheap and bounded in a sliver, for optimisation; "angle", the face's angle at the vertex, does not depend on how a
             surface is cut into triangles, for what is delivered (Thuermer and Wuethrich, "Computing vertex normals from polygonal
             facets", 1998)
    Raises ValueError for other weights.
    """
    match weights:
        case "area":
            shares = area_vectors(vertices, faces).repeat_interleave(3, dim=0)
        case "angle":
            shares = (face_normals(vertices, faces)[:, None] * corner_angles(vertices, faces)[..., None]).reshape(-1, 3)
        case _:
            raise ValueError(f"weights {weights!r}: expected 'area' or 'angle'")
    return unit_vectors(torch.zeros_like(vertices).index_add(0, faces.reshape(-1), shares))


def corner_angles(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F, 3] angle of each face at each of its corners, radians; exact for small ones too."""
    corners = torch.stack([vertices.index_select(0, column) for column in faces.unbind(1)], dim=1)
    one, other = corners.roll(-1, dims=1) - corners, corners.roll(1, dims=1) - corners
    return torch.atan2(torch.linalg.cross(one, other, dim=2).norm(dim=2), (one * other).sum(dim=2))


def unit_vectors(vectors: Tensor) -> Tensor:
    """Normalised; the zero vector stays zero, with a finite gradient."""
    # The derivative of rsqrt at the bound, 1e36 / 2, is the largest that float32 still holds.
    return vectors * vectors.square().sum(dim=1, keepdim=True).clamp_min(1e-24).rsqrt()
