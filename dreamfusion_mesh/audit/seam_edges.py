"""The edges along which the texture parts: one edge of the surface, two edges of the atlas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.readers.written import Written


@dataclass(frozen=True, eq=False)
class SeamEdges:
    """Both sides of each seam edge, as face corners: rows of arrays [3 F, ...] of a surface's corners.

    one, other  [N, 2] int64  the edge's two ends on either side, in the same order: one[i, k] and other[i, k] are at one position
    """

    one: np.ndarray
    other: np.ndarray

    def __len__(self) -> int:
        return len(self.one)


def seam_edges(written: Written) -> SeamEdges:
    """The edges of two faces that share both positions and not both UVs. Edges of one face, or of more than two, are left out.

    Raises ValueError where the surface has no UVs.
    """
    if written.split_faces is None:
        raise ValueError("seam_edges: the surface has no UVs")
    start = np.arange(3 * len(written.faces)).reshape(-1, 3)
    ends = np.stack([start, np.roll(start, -1, axis=1)], axis=2).reshape(-1, 2)  # [3 F, 2] corners of each face's edges
    rows = written.faces.reshape(-1)[ends]
    turned = rows[:, 0] > rows[:, 1]
    ends[turned], rows[turned] = ends[turned, ::-1], rows[turned, ::-1]
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows, ends = rows[order], ends[order]
    fresh = np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)])
    first = np.flatnonzero(fresh)
    pairs = first[np.diff(np.append(first, len(rows))) == 2]
    one, other = ends[pairs], ends[pairs + 1]
    corner = written.split_faces.reshape(-1)
    parted = (corner[one] != corner[other]).any(axis=1)
    return SeamEdges(one[parted], other[parted])
