"""Samples of a surface and of the original one, and how near each is to the other."""

from __future__ import annotations

import numpy as np
import torch

from dreamfusion_mesh.asset.lod.surface import Surface
from dreamfusion_mesh.kernels.trace import SurfaceTree

_WANTED = 40_000  # samples of a surface, about; no fewer than _LEAST and no more than _MOST along an edge of each face
_LEAST, _MOST = 2, 8


class Original:
    """The surface that others are compared with, as it is now: a tree to be near to, and samples [N, 3] of it."""

    def __init__(self, surface: Surface) -> None:
        self._tree = _tree(surface.points, surface.faces)
        inner = face_samples(surface.points, surface.faces, corners=False)
        self.samples = np.concatenate([surface.points, inner.reshape(-1, 3)])

    def distances(self, points: np.ndarray) -> np.ndarray:
        """[N] from points [N, 3] to the original."""
        return _nearest(self._tree, points)[1]


def face_samples(points: np.ndarray, faces: np.ndarray, corners: bool = True, of: int | None = None) -> np.ndarray:
    """[F, N, 3] a grid of points on each face, the denser the fewer faces there are, or where given, as for `of` faces."""
    steps = int(np.clip(np.sqrt(2 * _WANTED / (of or len(faces))), _LEAST, _MOST))
    first, second = np.divmod(np.arange((steps + 1) ** 2), steps + 1)
    weights = np.stack([first, second, steps - first - second], axis=1)
    kept = (weights >= 0).all(axis=1) & (corners | (weights.max(axis=1) < steps))
    return np.einsum("kj,fjd->fkd", weights[kept] / steps, points[faces])


def nearest_faces(points: np.ndarray, faces: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of samples [N, 3] the nearest face [N] int64 of a surface, and the distance [N]."""
    return _nearest(_tree(points, faces), samples)


def _tree(points: np.ndarray, faces: np.ndarray) -> SurfaceTree:
    return SurfaceTree(torch.from_numpy(points), torch.from_numpy(faces))


def _nearest(tree: SurfaceTree, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    _, faces, distances = tree.closest(torch.from_numpy(np.ascontiguousarray(points)))
    return faces.numpy(), distances.double().numpy()
