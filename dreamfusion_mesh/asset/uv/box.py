"""Box projection: every face laid flat along the axis it faces most. Coarser than xatlas, but fast, and it cannot fail."""

from __future__ import annotations

import numpy as np
import torch

from dreamfusion_mesh.asset.uv.charts import Charts, face_neighbours, regroup
from dreamfusion_mesh.geometry.normals import face_normals

# +x, -x, +y, -y, +z, -z, each with the right and up of one who looks at it from outside (right x up = side)
_SIDES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64)
_RIGHT = np.array([[0, 0, -1], [0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [-1, 0, 0]], dtype=np.float64)
_UP = np.array([[0, 1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1], [0, 1, 0], [0, 1, 0]], dtype=np.float64)
_PASSES = 4
_NEIGHBOUR_WEIGHT = 0.15  # added to a side's cosine for each neighbour on that side
_MIN_COSINE = 0.45  # between a face's normal and its side: areas shrink by no more


def box_charts(vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Charts of vertices [V, 3] and faces [F, 3], projected along six directions; connected faces of one direction are one chart.

    A face takes its neighbours' side where it can, so that noise does not shatter the surface into tiny charts. Charts may still lie over
    themselves (a spiral ramp), and faces without area come out without area.
    """
    corners = vertices[faces]
    normals = face_normals(torch.from_numpy(vertices), torch.from_numpy(faces)).numpy()
    side = _choose(normals @ _SIDES.T, face_neighbours(faces))
    flat = np.stack([(corners * _RIGHT[side][:, None]).sum(axis=2), (corners * _UP[side][:, None]).sum(axis=2)], axis=2)
    used, inverse = np.unique(side[:, None] * len(vertices) + faces, return_inverse=True)
    uvs = np.zeros((len(used), 2))
    uvs[inverse.reshape(-1)] = flat.reshape(-1, 2)
    return regroup(uvs, inverse.reshape(-1, 3), side)


def _choose(facing: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """[F] side of each face, from the cosines [F, 6] to the sides and pairs of neighbours [P, 2]."""
    side = facing.argmax(axis=1)
    for _ in range(_PASSES):
        votes = np.zeros_like(facing)
        np.add.at(votes, (neighbours[:, 0], side[neighbours[:, 1]]), 1.0)
        np.add.at(votes, (neighbours[:, 1], side[neighbours[:, 0]]), 1.0)
        wanted = np.where(facing >= _MIN_COSINE, facing + _NEIGHBOUR_WEIGHT * votes, -np.inf)
        side = np.where((facing >= _MIN_COSINE).any(axis=1), wanted.argmax(axis=1), side)
    return side
