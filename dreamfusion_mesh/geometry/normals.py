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
    """[V, 3] unit normals, the weighted mean of the faces round a vertex; zero where there is none, or they cancel. Differentiable.

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
    total = torch.zeros_like(vertices).index_add(0, faces.reshape(-1), shares)
    if weights == "angle":  # radians, so what rounding leaves of faces back to back has a known size
        total = total * (total.detach().norm(dim=1, keepdim=True) > 1e3 * torch.finfo(total.dtype).eps)
    return unit_vectors(total)


def corner_angles(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F, 3] angle of each face at each of its corners, radians."""
    corners = torch.stack([vertices.index_select(0, column) for column in faces.unbind(1)], dim=1)
    return vector_angles(corners.roll(-1, dims=1) - corners, corners.roll(1, dims=1) - corners)


def vector_angles(one: Tensor, other: Tensor) -> Tensor:
    """[...] angle between vectors [..., 3], radians; exact for small ones too."""
    return torch.atan2(torch.linalg.cross(one, other, dim=-1).norm(dim=-1), (one * other).sum(dim=-1))


def unit_vectors(vectors: Tensor) -> Tensor:
    """Vectors [N, 3] normalised; the zero vector stays zero, with a finite gradient."""
    # The derivative of rsqrt at the bound, half its power of -3/2, is still finite in the vectors' precision.
    bound = 1e-200 if vectors.dtype == torch.float64 else 1e-24
    return vectors * vectors.square().sum(dim=1, keepdim=True).clamp_min(bound).rsqrt()
