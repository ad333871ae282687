"""What an exporter needs of a mesh: smooth normals of the welded surface, tangents, and one index, split where UVs or tangents part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dreamfusion_mesh.geometry.tangents import corner_tangents, smooth_normals
from dreamfusion_mesh.geometry.topology import distinct_rows
from dreamfusion_mesh.records import Mesh


@dataclass(frozen=True, eq=False)
class ExportSurface:
    """A mesh as plain arrays, each with an index of its own.

    positions     [P, 3] float32   distinct: vertices at bit-equal positions are one
    normals       [N, 3] float32   unit, distinct
    uvs           [U, 2] float32   origin bottom-left
    face_*        [F, 3] int64     rows of each
    """

    positions: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray
    face_positions: np.ndarray
    face_normals: np.ndarray
    face_uvs: np.ndarray


@dataclass(frozen=True, eq=False)
class Corners:
    """One index for all attributes: a vertex is doubled only where its UV, or its tangent, differs.

    positions, normals [N, 3], uvs [N, 2] (origin bottom-left), tangents [N, 4] or None: float32; indices [F, 3] int64
    """

    positions: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray
    tangents: np.ndarray | None
    indices: np.ndarray


def export_surface(mesh: Mesh) -> ExportSurface:
    """Weld a mesh with UVs and give it smooth normals; the same on both sides of every UV seam. Unused rows go.

    Raises ValueError where the mesh has no faces, no UVs, or values that are not finite.
    """
    if mesh.uvs is None or mesh.face_uvs is None:
        raise ValueError("export: mesh has no uvs; unwrap it first")
    positions, face_positions = used_points(mesh)
    uvs, face_uvs = _in_order_of_use(mesh.uvs.detach().cpu().float(), mesh.face_uvs.cpu())
    if not np.isfinite(uvs).all():
        raise ValueError("export: mesh holds uvs that are not finite")
    smooth = smooth_normals(torch.from_numpy(positions), torch.from_numpy(face_positions))
    normals, face_normals = _in_order_of_use(smooth, torch.from_numpy(face_positions))
    return ExportSurface(positions, normals, uvs, face_positions, face_normals, face_uvs)


def used_points(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Distinct positions [P, 3] float32 that the faces use, in the order of use, and the faces [F, 3] as rows of them.

    Raises ValueError where there are no faces, or positions are not finite.
    """
    if len(mesh.faces) == 0:
        raise ValueError("export: mesh has no faces")
    positions, faces = _in_order_of_use(mesh.vertices.detach().cpu().float(), mesh.faces.cpu())
    if not np.isfinite(positions).all():
        raise ValueError("export: mesh holds positions that are not finite")
    return positions, faces


def split_corners(found: ExportSurface, tangents: bool) -> Corners:
    """One index from a surface's three, in the order in which the faces use them; with MikkTSpace's tangents where asked."""
    corners = (found.positions[found.face_positions], found.normals[found.face_normals], found.uvs[found.face_uvs])
    keys = np.stack([found.face_positions, found.face_uvs], axis=2).reshape(-1, 2)
    directions = corner_tangents(*corners).reshape(-1, 4) if tangents else None
    if directions is not None:
        keys = np.concatenate([keys, np.unique(directions, axis=0, return_inverse=True)[1].reshape(-1, 1)], axis=1)
    first, indices = _by_first_use(keys)
    positions, normals, uvs = (values.reshape(len(keys), -1)[first] for values in corners)
    return Corners(positions, normals, uvs, None if directions is None else directions[first], indices)


def _in_order_of_use(values: torch.Tensor, faces: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of `values` [N, C] that `faces` [F, 3] use, in the order of first use, and the faces as rows of those."""
    distinct, rows = (part.numpy() for part in distinct_rows(values, faces))
    first, indices = _by_first_use(rows.reshape(-1, 1))
    return distinct[rows.reshape(-1)[first]], indices


def _by_first_use(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct row of `keys` [3 F, C], numbers from 0, comes first, in that order, and the index [F, 3] of every row among them.

    numpy sorts by key; files read better, and cache better, in the order of use.
    """
    merged = keys[:, 0]
    for column in keys.T[1:]:  # sorting single numbers is far faster than rows, and numbering them anew keeps them small
        merged = np.unique(merged * (column.max(initial=0) + 1) + column, return_inverse=True)[1].reshape(-1)
    _, first, inverse = np.unique(merged, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.reshape(-1)].reshape(-1, 3)
