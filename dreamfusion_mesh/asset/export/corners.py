"""What an exporter needs of a mesh: smooth normals of the welded surface, tangents, and corners split where UVs part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.records import Mesh


@dataclass(frozen=True, eq=False)
class Surface:
    """A mesh as plain arrays, each with an index of its own.

    positions     [P, 3] float32   one row a place: vertices at bit-equal positions are one
    normals       [N, 3] float32   unit; one row a direction
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
    """One index for all attributes: a vertex is doubled only where its UV, or its tangent's side, differs.

    positions, normals [N, 3], uvs [N, 2] (origin bottom-left), tangents [N, 4] or None: float32; indices [F, 3] int64
    """

    positions: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray
    tangents: np.ndarray | None
    indices: np.ndarray


def surface(mesh: Mesh) -> Surface:
    """Weld a mesh with UVs and give it smooth normals; the same on both sides of every UV seam. Unused rows go.

    Raises ValueError where the mesh has no faces, no UVs, or values that are not finite.
    """
    if mesh.uvs is None or mesh.face_uvs is None:
        raise ValueError("export: mesh has no uvs; unwrap it first")
    if len(mesh.faces) == 0:
        raise ValueError("export: mesh has no faces")
    points = mesh.vertices.detach().cpu().float().numpy()[mesh.faces.cpu().numpy()].reshape(-1, 3)
    coordinates = mesh.uvs.detach().cpu().float().numpy()[mesh.face_uvs.cpu().numpy()].reshape(-1, 2)
    if not (np.isfinite(points).all() and np.isfinite(coordinates).all()):
        raise ValueError("export: mesh holds positions or uvs that are not finite")
    positions, face_positions = _rows(points)
    uvs, face_uvs = _rows(coordinates)
    normals, face_normals = _rows(smooth_normals(positions, face_positions)[face_positions.reshape(-1)])
    return Surface(positions, normals, uvs, face_positions, face_normals, face_uvs)


def smooth_normals(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[V, 3] float32 unit normals: each face's normal weighted by its angle at the vertex; +Y where nothing points anywhere.

    Source: Thuermer and Wuethrich, "Computing vertex normals from polygonal facets", 1998.
    """
    corners = positions[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    total = np.zeros((len(positions), 3))
    for i in range(3):
        angle = _angle(corners[:, (i + 1) % 3] - corners[:, i], corners[:, (i + 2) % 3] - corners[:, i])
        np.add.at(total, faces[:, i], normals * angle[:, None])
    length = np.linalg.norm(total, axis=1, keepdims=True)
    upright = np.broadcast_to([0.0, 1.0, 0.0], total.shape)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-300), upright).astype(np.float32)


def split_corners(found: Surface, tangents: bool) -> Corners:
    """One index from a surface's three, in the order in which the faces meet the corners; with tangents where asked."""
    keys = np.stack([found.face_positions, found.face_uvs], axis=2).reshape(-1, 2)
    vectors = None
    if tangents:
        sides = _sides(found)
        keys = np.concatenate([keys, np.repeat(sides, 3)[:, None]], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # numpy sorts by key; files read better, and cache better, in the order of use
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    first, indices = first[order], rank[inverse.reshape(-1)].reshape(-1, 3)
    normals = found.normals[found.face_normals.reshape(-1)[first]]
    if tangents:
        vectors = _tangents(found, indices, normals, np.repeat(sides, 3)[first])
    return Corners(
        found.positions[found.face_positions.reshape(-1)[first]], normals, found.uvs[found.face_uvs.reshape(-1)[first]], vectors, indices
    )


def _sides(found: Surface) -> np.ndarray:
    """[F] +1 where a face's UVs run counter-clockwise, -1 where they are mirrored."""
    a, b, c = (found.uvs[found.face_uvs[:, i]].astype(np.float64) for i in range(3))
    return np.where((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0, -1, 1)


def _tangents(found: Surface, indices: np.ndarray, normals: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """[N, 4] the direction of growing u across the normal, and the side: bitangent = w * cross(normal, tangent), towards growing v.

    Faces' tangents are laid across the corner's normal, made unit, and weighted by the angle of the face there.
    Source: Mikkelsen, "Simulation of wrinkled surfaces revisited", 2008 (MikkTSpace).
    """
    corners = found.positions[found.face_positions].astype(np.float64)
    uvs = found.uvs[found.face_uvs].astype(np.float64)
    edges, runs = corners[:, 1:] - corners[:, :1], uvs[:, 1:] - uvs[:, :1]
    along_u = edges[:, 0] * runs[:, 1, 1:] - edges[:, 1] * runs[:, 0, 1:]
    area = runs[:, 0, 0] * runs[:, 1, 1] - runs[:, 0, 1] * runs[:, 1, 0]
    along_u *= np.where(area < 0, -1.0, 1.0)[:, None]
    total = np.zeros((len(normals), 3))
    up = normals.astype(np.float64)
    for i in range(3):
        normal = up[indices[:, i]]
        one = _across(corners[:, (i + 1) % 3] - corners[:, i], normal)
        other = _across(corners[:, (i + 2) % 3] - corners[:, i], normal)
        np.add.at(total, indices[:, i], _across(along_u, normal) * _angle(one, other)[:, None])
    spare = _across(np.eye(3)[np.abs(up).argmin(axis=1)], up)
    tangent = np.where(np.linalg.norm(total, axis=1, keepdims=True) > 1e-12, _across(total, up), spare)
    return np.concatenate([tangent, sides[:, None]], axis=1).astype(np.float32)


def _across(vectors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The part of `vectors` [N, 3] across unit `normals`, made unit; zero where there is none."""
    flat = vectors - normals * (vectors * normals).sum(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-300)


def _angle(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[N] angle between vectors [N, 3], radians; exact for small ones too."""
    return np.arctan2(np.linalg.norm(np.cross(one, other), axis=1), (one * other).sum(axis=1))


def _rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of `values` [3 F, C] in the order of first use, and an index [F, 3] into them. -0.0 counts as 0.0."""
    values = values + np.zeros((), dtype=values.dtype)
    _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return values[first[order]], rank[inverse.reshape(-1)].reshape(-1, 3)
