"""What a normal map says, in the file's own basis: unit normals, those of the refined surface, and straight up where nothing is bent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.angles import angles, geometric_normals, unit
from dreamfusion_mesh.audit.distance import barycentric, nearest_points, surface_samples
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.geometry.areas import cross_2d
from dreamfusion_mesh.records import Mesh

SAMPLES = 50_000  # places of the surface whose texels are looked at
UNIT_TOLERANCE = 0.1  # of a normal's length; 8 bits and a texel's mean of several normals shorten it
FLAT_DEGREES = 0.1  # between normals that count as parallel: a fifth of a step of 8 bits
MARGIN = 1.5  # texels from a face's edges, so that a texel is of that face alone


@dataclass(frozen=True)
class NormalMapFigures:
    """What a normal map is; all but `broken` need the refined surface.

    broken         share of the texels looked at that hold no unit normal, or one that points into the surface
    mapped, plain  degrees from the refined surface's normals, mean, with the map and without it; a map of which one axis points the
                   other way has a median that hardly differs
    turned         the same with the map's axes turned round or swapped, whichever is nearest: a map of another basis is nearer then
    flat           texels of patches where neither surface bends
    tilted         of those, texels that are not (128, 128, 255), each +-1
    """

    broken: float
    mapped: float | None = None
    plain: float | None = None
    turned: float | None = None
    flat: int = 0
    tilted: int = 0


@dataclass(frozen=True, eq=False)
class _Places:
    """Texels whose centres lie in a face: the face [N], the centre's barycentric coordinates [N, 3], texels from the face's edges [N], and
    the texel's value [N, 3] uint8.
    """

    face: np.ndarray
    weights: np.ndarray
    inside: np.ndarray
    value: np.ndarray


def measure_normal_map(written: Written, texels: np.ndarray, reference: Mesh | None, scale: float = 1.0) -> NormalMapFigures:
    """Measure a normal map [H, W, 3] uint8 of a glTF, green upwards (+Y), that has UVs in the square, normals and tangents.

    scale  by which a viewer multiplies its red and green, once they are from -1 to 1
    """
    places = _places(written, texels)
    if not len(places.face):
        return NormalMapFigures(0.0)
    local = places.value / 127.5 - 1.0
    broken = float(((np.abs(np.linalg.norm(local, axis=1) - 1) > UNIT_TOLERANCE) | (local[:, 2] < 0)).mean())
    if reference is None:
        return NormalMapFigures(broken)
    local = local * [scale, scale, 1.0]
    assert written.corner_normals is not None
    assert written.corner_tangents is not None
    corner_normals = written.corner_normals[places.face]
    normal, tangent = (
        np.einsum("nc,ncd->nd", places.weights, values) for values in (corner_normals, written.corner_tangents[places.face, :, :3])
    )
    across = np.cross(normal, tangent) * written.corner_tangents[places.face, 0, 3:]
    refined, corners = _refined_normals(np.einsum("nc,ncd->nd", places.weights, written.vertices[written.faces[places.face]]), reference)
    face_normal = geometric_normals(written.vertices, written.faces)[0][places.face]
    bent = np.concatenate([angles(values, face_normal[:, None]) for values in (corner_normals, corners)], axis=1).max(axis=1)
    flat = (bent <= FLAT_DEGREES) & (places.inside >= MARGIN)
    tilted = flat & (np.abs(places.value.astype(np.int64) - [128, 128, 255]) > 1).any(axis=1)

    def off(red: np.ndarray, green: np.ndarray) -> float:
        return float(angles(red[:, None] * tangent + green[:, None] * across + local[:, 2:] * normal, refined).mean())

    x, y = local[:, 0], local[:, 1]
    turned = min(off(*axes) for axes in ((-x, y), (x, -y), (-x, -y), (y, x), (-y, x), (y, -x), (-y, -x)))
    plain = float(angles(normal, refined).mean())
    return NormalMapFigures(broken, off(x, y), plain, turned, int(flat.sum()), int(tilted.sum()))


def _places(written: Written, texels: np.ndarray) -> _Places:
    """The texels below SAMPLES points of the surface whose centres lie in the point's own face."""
    assert written.corner_uvs is not None
    size = np.array(texels.shape[1::-1])
    face, weights = surface_samples(written.vertices, written.faces, SAMPLES)[1:]
    corners = written.corner_uvs[face] * size  # [N, 3, 2] texels, origin bottom-left
    column_row = np.floor(np.einsum("nc,ncd->nd", weights, corners))
    centre = column_row + 0.5
    edges = np.roll(corners, -1, axis=1) - corners
    area = cross_2d(edges[:, 0], -edges[:, 2])
    kept = (area > 0) & (column_row >= 0).all(axis=1) & (column_row < size).all(axis=1)
    face, corners, edges, centre, area, column_row = (v[kept] for v in (face, corners, edges, centre, area, column_row))
    beside = cross_2d(edges, centre[:, None] - corners)  # [N, 3] twice the area over each edge
    inside = (beside / np.maximum(np.linalg.norm(edges, axis=2), 1e-12)).min(axis=1)
    kept = inside >= 0
    columns, rows = column_row[kept].astype(np.int64).T
    values = texels[texels.shape[0] - 1 - rows, columns]
    return _Places(face[kept], np.roll(beside, -1, axis=1)[kept] / area[kept, None], inside[kept], values)


def _refined_normals(points: np.ndarray, reference: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Smooth normals [N, 3] of the refined surface at its nearest points, and those of the nearest faces' corners [N, 3, 3]."""
    vertices, faces = reference.vertices.detach().cpu().double().numpy(), reference.faces.cpu().numpy()
    low, size = vertices.min(axis=0), max(float(np.ptp(vertices, axis=0).max()), 1e-300)
    placed = (vertices - low) / size
    nearest, found, _ = nearest_points((points - low) / size, placed, faces)
    corners = geometric_normals(vertices, faces)[1][faces[found]]
    weights = barycentric(nearest, placed[faces[found]])
    return unit(np.einsum("nc,ncd->nd", weights, corners)), corners
