"""A cube whose sides are grids of triangles and charts that one affine function maps: it can be simplified without any error."""

from __future__ import annotations

import numpy as np
import torch

from dreamfusion_mesh.records import Mesh

CHART = 0.3  # of the UV square, a face's side


def gridded_box(steps: int, size: float = 1.0) -> Mesh:
    """12 steps^2 triangles; face k's lower left UV corner is at ((k % 3) / 3, (k // 3) / 2)."""
    first, second = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1), indexing="ij")
    flat = np.stack([first, second], axis=2).reshape(-1, 2) / steps
    rows = np.arange((steps + 1) ** 2).reshape(steps + 1, steps + 1)
    a, b, c, d = rows[:-1, :-1].ravel(), rows[1:, :-1].ravel(), rows[1:, 1:].ravel(), rows[:-1, 1:].ravel()
    one = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    corners, uvs, faces = [], [], []
    for face in range(6):
        axis, top = face % 3, face >= 3
        along, across = (axis + 1) % 3, (axis + 2) % 3
        points = np.zeros((len(flat), 3))
        points[:, axis] = top
        points[:, along], points[:, across] = (flat[:, 0], flat[:, 1]) if top else (flat[:, 1], flat[:, 0])
        corners.append(points * size)
        uvs.append(flat * CHART + [(face % 3) / 3, (face // 3) / 2])
        faces.append(one + face * len(flat))
    points, index = np.unique(np.concatenate(corners), axis=0, return_inverse=True)
    face_uvs = np.concatenate(faces)
    shape = (torch.tensor(points).float(), torch.tensor(index.reshape(-1)[face_uvs]))
    return Mesh(*shape, torch.tensor(np.concatenate(uvs)).float(), torch.tensor(face_uvs))


def exact_uvs(mesh: Mesh) -> np.ndarray:
    """[F, 3, 2] of a simplified `gridded_box(n)`, from its corners' positions and normals alone."""
    corners = mesh.vertices.double().numpy()[mesh.faces.numpy()]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    axis, top = np.abs(normals).argmax(axis=1), normals.sum(axis=1) > 0
    along, across = (np.take_along_axis(corners, ((axis + turn) % 3)[:, None, None], axis=2)[:, :, 0] for turn in (1, 2))
    flat = np.where(top[:, None, None], np.stack([along, across], 2), np.stack([across, along], 2))
    return flat * CHART + np.stack([axis / 3, top / 2], axis=1)[:, None]
