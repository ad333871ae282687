"""What a baked texture is compared with: where its texels lie, what it shows at a UV, and the two sides of its seams."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.records import Mesh


def truth(mesh: Mesh, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each texel's centre whether a face covers it, and the point there, face by face by barycentric coordinates in float64."""
    covered, points = np.zeros((size, size), bool), np.zeros((size, size, 3))
    uvs, corners = mesh.uvs.double().numpy()[mesh.face_uvs] * size, mesh.vertices.double().numpy()[mesh.faces]
    for flat, solid in zip(uvs, corners, strict=True):
        low, high = np.floor(flat.min(axis=0) - 0.5).astype(int), np.ceil(flat.max(axis=0)).astype(int)
        u, v = np.meshgrid(np.arange(max(low[0], 0), min(high[0], size)), np.arange(max(low[1], 0), min(high[1], size)))
        weights = np.linalg.solve(np.concatenate([flat.T, np.ones((1, 3))]), np.stack([u.ravel() + 0.5, v.ravel() + 0.5, np.ones(u.size)]))
        inside = (weights > 1e-9).all(axis=0)
        row, column = size - 1 - v.ravel()[inside], u.ravel()[inside]
        covered[row, column], points[row, column] = True, weights[:, inside].T @ solid
    return covered, points


def bilinear(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    size = image.shape[0]
    x, y = uv[:, 0] * size - 0.5, (1 - uv[:, 1]) * size - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - left)[:, None], (y - top)[:, None]

    def at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        return image[row.clip(0, size - 1), column.clip(0, size - 1)].astype(float)

    upper = at(top, left) * (1 - fx) + at(top, left + 1) * fx
    return upper * (1 - fy) + (at(top + 1, left) * (1 - fx) + at(top + 1, left + 1) * fx) * fy


def seam(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Points along every seam edge, as UVs [N, 2] on its one side and on its other."""
    sides: dict[tuple[int, int], list] = {}
    for face, uv in zip(mesh.faces.tolist(), mesh.face_uvs.tolist(), strict=True):
        for i in range(3):
            (a, ua), (b, ub) = sorted([(face[i], uv[i]), (face[(i + 1) % 3], uv[(i + 1) % 3])])
            sides.setdefault((a, b), []).append((ua, ub))
    pairs = np.array([found for found in sides.values() if len(found) == 2 and found[0] != found[1]])
    ends = mesh.uvs.double().numpy()[pairs]  # [E, side, end, 2]
    share = np.linspace(0, 1, 5)[:, None, None, None]
    points = ends[:, :, 0] * (1 - share) + ends[:, :, 1] * share
    return points[:, :, 0].reshape(-1, 2), points[:, :, 1].reshape(-1, 2)
