"""Angles, and the normals that faces give: the audit's own, since the code that makes a file's normals might share a fault with it."""

from __future__ import annotations

import numpy as np


def angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[...] degrees between vectors [..., 3]; exact for small ones too."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other), axis=-1), (one * other).sum(axis=-1)))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] made unit; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def geometric_normals(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals [F, 3] of the faces, and [V, 3] round each vertex, weighted by the faces' angles there (Thuermer and Wuethrich, 1998).

    Zero where there is no direction.
    """
    size = np.ptp(vertices, axis=0).max()
    corners = ((vertices - vertices.mean(axis=0)) / (size if size > 0 else 1.0))[faces]
    ahead, back = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    across = unit(np.cross(ahead[:, 0], back[:, 0]))
    weights = np.radians(angles(ahead, back)).reshape(-1)
    shares = np.repeat(across, 3, axis=0) * weights[:, None]
    return across, unit(np.stack([np.bincount(faces.reshape(-1), share, len(vertices)) for share in shares.T], axis=1))
