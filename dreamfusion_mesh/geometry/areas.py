"""Areas of faces in space and in UV, and the volumes that they enclose."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)


def area_vectors(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F, 3] vectors along the faces' normals, twice as long as the faces' areas. Differentiable."""
    a, b, c = (vertices.index_select(0, column) for column in faces.unbind(1))
    return torch.linalg.cross(b - a, c - a, dim=1)


def face_areas(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F] areas in squared units of `vertices`. Differentiable where they are above zero."""
    return area_vectors(vertices, faces).norm(dim=1) / 2


def uv_areas(corners: Array) -> Array:
    """[F] signed areas of UV triangles [F, 3, 2], in squares; positive where counter-clockwise with the origin bottom-left."""
    return 0.5 * cross_2d(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def cross_2d(one: Array, other: Array) -> Array:
    """[...] z of the cross product of vectors [..., 2], the signed area that they span: positive where `other` is left of `one`."""
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def signed_volume(vertices: Tensor, faces: Tensor) -> Tensor:
    """Scalar volume inside a closed mesh, negative where its faces look inwards; differentiable (divergence theorem)."""
    return _cone_volumes(vertices, faces).sum()


def shell_volumes(vertices: Tensor, faces: Tensor, shell: Tensor) -> Tensor:
    """[S] signed volume of each shell; `shell` [F] as `shells` gives it."""
    count = int(shell.max()) + 1 if len(shell) else 0
    return torch.zeros(count, dtype=vertices.dtype, device=vertices.device).index_add(0, shell, _cone_volumes(vertices, faces))


def _cone_volumes(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = (vertices - vertices.detach().mean(dim=0))[faces].unbind(1)
    return (a * torch.linalg.cross(b, c, dim=1)).sum(dim=1) / 6
