"""Edges collapsed in rounds, the cheapest first, within a distance from the original surface; seams stay closed in space and in UV.

Each round collapses many edges whose neighbourhoods do not touch, so that each could as well have been collapsed by itself. A vertex inside
a chart may go to any neighbour; one on the seam of two charts only along that seam, in both charts at once; corners of seams stay.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dreamfusion_mesh.asset.lod.deviation import Original, face_samples, nearest_faces
from dreamfusion_mesh.asset.lod.quadrics import UV_WEIGHT, best_places
from dreamfusion_mesh.asset.lod.surface import FREE, SEAM, Edges, Surface, area_vectors, find_edges, uv_cross

_POOL = 0.1  # of the edges, the cheapest: those that a round chooses from
_FEWEST = 64  # edges in the pool
_MIN_TURN = 0.3  # cosine of the angle that a face may turn by
_MIN_SHAPE = 0.05  # twice a face's area over its longest edge's square: flatter faces may not get flatter
_DENSITIES = (0.5, 2.0)  # texels per area, of the mean: faces outside may not get farther out
_WASTED = 0.3  # share of a round's collapses that are near enough, under which the tolerance counts as used up


@dataclass(frozen=True, eq=False)
class _Collapses:
    """Edges to collapse, the cheapest first, and where their vertices go.

    kept, lost  [N]        rows of points
    wedges      [N, 2, 2]  of two sides, of two ends
    faces       [N, 2]     that vanish
    seam        [N] bool
    held        [N] bool   the kept end stays where it is
    points      [N, 3]     new
    uvs         [N, 2, 2]  new, of the two sides
    """

    kept: np.ndarray
    lost: np.ndarray
    wedges: np.ndarray
    faces: np.ndarray
    seam: np.ndarray
    held: np.ndarray
    points: np.ndarray
    uvs: np.ndarray

    def __len__(self) -> int:
        return len(self.kept)

    def only(self, rows: np.ndarray) -> _Collapses:
        return _Collapses(*(getattr(self, entry.name)[rows] for entry in fields(self)))


def collapse(surface: Surface, original: Original, triangles: int, tolerance: float) -> None:
    """Collapse edges until there are at most `triangles`, or hardly any is left whose collapse keeps within `tolerance` of the original.

    tolerance  of the diagonal, measured at samples of both surfaces
    """
    pool, refused = _POOL, np.zeros((0, 2), dtype=np.int64)
    near = nearest_faces(surface.points, surface.faces, original.samples)[0]
    while len(surface.faces) > triangles:
        chosen = _choose(surface, refused, pool, (len(surface.faces) - triangles + 1) // 2)
        if len(chosen) == 0 and pool >= 1:
            return
        if len(chosen) == 0:
            pool = min(1.0, 3 * pool)
            continue
        fine = _deviations(surface, original, chosen, near) <= tolerance
        refused = np.concatenate([refused, _stamped(surface, chosen.kept, chosen.lost)[~fine]])
        if fine.mean() < _WASTED:
            if pool >= 1:
                return
            pool = min(1.0, 3 * pool)
        if fine.any():
            near = _apply(surface, original, chosen.only(fine), near)


def _choose(surface: Surface, refused: np.ndarray, pool: float, most: int) -> _Collapses:
    """At most so many of the cheapest collapses that are allowed and do not touch."""
    edges, normals = find_edges(surface), area_vectors(surface.points, surface.faces)
    rows = np.flatnonzero(_collapsible(surface, edges) & ~_among(_stamped(surface, edges.kept, edges.lost), refused))
    cost, found = _placed(surface, edges, rows, normals)
    cheapest = np.argsort(cost, kind="stable")[: max(_FEWEST, int(pool * len(edges.kept)))]
    found = found.only(cheapest)
    found = found.only(_keeps_topology(found, edges, len(surface.points)))
    found = found.only(_keeps_shapes(surface, found, normals))
    return found.only(_apart(surface, found)[:most])


def _collapsible(surface: Surface, edges: Edges) -> np.ndarray:
    """[E] bool: the lost end may go along this edge, no third corner loses its last faces, and no chart of one face vanishes."""
    along_seam = np.bincount(edges.faces[edges.seam].reshape(-1), minlength=len(surface.faces))
    free = edges.move[edges.lost] == np.where(edges.seam, SEAM, FREE)
    alone = edges.seam & (along_seam[edges.faces] == 3).any(axis=1)
    return free & ~alone & (edges.valence[edges.opposite] > 3).all(axis=1)


def _placed(surface: Surface, edges: Edges, rows: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, _Collapses]:
    """Costs of the edges' collapses at the places where they are least."""
    kept, lost, wedges, seam = edges.kept[rows], edges.lost[rows], edges.wedges[rows], edges.seam[rows]
    of_vertices = np.zeros_like(surface.points)
    for corner in range(3):
        np.add.at(of_vertices, surface.faces[:, corner], normals)
    normal = of_vertices[kept] + of_vertices[lost]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    quadrics = surface.quadrics[wedges].sum(axis=2)
    quadrics[~seam, 1] = 0.0
    flat = surface.uvs[wedges]
    step = surface.points[lost] - surface.points[kept]
    start = np.concatenate([np.repeat(surface.points[kept][:, None], 2, axis=1), UV_WEIGHT * flat[:, :, 0]], axis=2)
    along = np.concatenate([np.repeat(step[:, None], 2, axis=1), UV_WEIGHT * (flat[:, :, 1] - flat[:, :, 0])], axis=2)
    held = edges.move[kept] != edges.move[lost]
    t, s, cost = best_places(quadrics, start, along, normal, held)
    points = surface.points[kept] + t[:, None] * step + s[:, None] * normal
    uvs = flat[:, :, 0] + t[:, None, None] * (flat[:, :, 1] - flat[:, :, 0])
    return cost, _Collapses(kept, lost, wedges, edges.faces[rows], seam, held, points, uvs)


def _keeps_topology(found: _Collapses, edges: Edges, vertices: int) -> np.ndarray:
    """[N] bool: the ends have no common neighbours but the two faces' third corners (the link condition)."""
    from scipy.sparse import csr_array

    ends = (np.concatenate([edges.kept, edges.lost]), np.concatenate([edges.lost, edges.kept]))
    neighbours = csr_array((np.ones(len(ends[0]), dtype=np.int32), ends), shape=(vertices, vertices))
    common = neighbours[found.kept].multiply(neighbours[found.lost]).sum(axis=1)
    return np.asarray(common).reshape(-1) == 2


def _keeps_shapes(surface: Surface, found: _Collapses, normals: np.ndarray) -> np.ndarray:
    """[N] bool: no face turns over, gets too flat, is mirrored in UV, or leaves the range of texel densities."""
    from scipy.sparse import csr_array

    count, good = len(surface.faces), np.ones(len(found), dtype=bool)
    corners = (surface.faces.reshape(-1), np.repeat(np.arange(count), 3))
    incidence = csr_array((np.ones(3 * count, dtype=np.int8), corners), shape=(len(surface.points), count))
    for end, rows in ((0, np.flatnonzero(~found.held)), (1, np.arange(len(found)))):
        vertices = (found.kept, found.lost)[end][rows]
        first, uses = incidence.indptr[vertices], np.diff(incidence.indptr)[vertices]
        row = np.repeat(np.arange(len(rows)), uses)
        face = incidence.indices[np.repeat(first - (np.cumsum(uses) - uses), uses) + np.arange(len(row))]
        vertex, row = vertices[row], rows[row]
        stays = (face[:, None] != found.faces[row]).all(axis=1)
        vertex, row, face = vertex[stays], row[stays], face[stays]
        moved = (surface.faces[face] == vertex[:, None])[:, :, None]
        side = found.seam[row] & (surface.wedges[face] == found.wedges[row, 1, end][:, None]).any(axis=1)
        points = np.where(moved, found.points[row][:, None], surface.points[surface.faces[face]])
        uvs = np.where(moved, found.uvs[row, side.astype(np.int64)][:, None], surface.uvs[surface.wedges[face]])
        good[row[_spoiled(surface, face, points, uvs, normals[face])]] = False
    return good


def _spoiled(surface: Surface, face: np.ndarray, points: np.ndarray, uvs: np.ndarray, before: np.ndarray) -> np.ndarray:
    """[N] bool, of faces with new corners [N, 3, 3], new UVs [N, 3, 2] and the normals [N, 3] that they had."""
    old_points, old_uvs = surface.points[surface.faces[face]], surface.uvs[surface.wedges[face]]
    after = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    new_area, old_area = np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1)
    new_shape, old_shape = new_area / _longest(points), old_area / _longest(old_points)
    new_flat = uv_cross(uvs)
    new_density = new_flat / np.maximum(new_area, 1e-300)
    old_density = uv_cross(old_uvs) / np.maximum(old_area, 1e-300)
    turned = (after * before).sum(axis=1) < _MIN_TURN * new_area * old_area
    flattened = (new_shape < _MIN_SHAPE) & (new_shape < old_shape)
    sparse = (new_density < _DENSITIES[0]) & (new_density < old_density)
    dense = (new_density > _DENSITIES[1]) & (new_density > old_density)
    return turned | flattened | sparse | dense | (new_flat <= 0)


def _longest(corners: np.ndarray) -> np.ndarray:
    """[N] squares of the longest edges."""
    return np.maximum(((corners - np.roll(corners, 1, axis=1)) ** 2).sum(axis=2).max(axis=1), 1e-300)


def _apart(surface: Surface, found: _Collapses) -> np.ndarray:
    """Rows of collapses that no cheaper one touches: no face has corners at the ends of two."""
    order, none = np.arange(len(found)), len(found)
    at_vertex = np.full(len(surface.points), none)
    np.minimum.at(at_vertex, found.kept, order)
    np.minimum.at(at_vertex, found.lost, order)
    at_face, around = at_vertex[surface.faces].min(axis=1), np.full(len(surface.points), none)
    for corner in range(3):
        np.minimum.at(around, surface.faces[:, corner], at_face)
    return np.flatnonzero((around[found.kept] == order) & (around[found.lost] == order))


def _deviations(surface: Surface, original: Original, chosen: _Collapses, near: np.ndarray) -> np.ndarray:
    """[N] how far the two surfaces are apart around each collapse, once all are done. near: the face next to each original sample."""
    points, faces, stays = _collapsed(surface, chosen)
    owner = np.full(len(surface.points), -1)
    owner[chosen.kept] = owner[chosen.lost] = np.arange(len(chosen))
    by_face = owner[surface.faces].max(axis=1)  # no face belongs to two
    worst, changed = np.zeros(len(chosen)), by_face[stays] >= 0
    samples = face_samples(points, faces[changed], of=len(faces))
    there = original.distances(samples.reshape(-1, 3)).reshape(samples.shape[:2])
    np.maximum.at(worst, by_face[stays][changed], there.max(axis=1, initial=0.0))
    affected = by_face[near] >= 0
    np.maximum.at(worst, by_face[near][affected], nearest_faces(points, faces, original.samples[affected])[1])
    return worst


def _collapsed(surface: Surface, chosen: _Collapses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and faces after the collapses, and which [F] bool faces stay."""
    points, rows, stays = surface.points.copy(), np.arange(len(surface.points)), np.ones(len(surface.faces), dtype=bool)
    points[chosen.kept], rows[chosen.lost] = chosen.points, chosen.kept
    stays[chosen.faces.reshape(-1)] = False
    return points, rows[surface.faces[stays]], stays


def _apply(surface: Surface, original: Original, chosen: _Collapses, near: np.ndarray) -> np.ndarray:
    """Collapse; gives the faces next to the original's samples anew."""
    touched = np.zeros(len(surface.points), dtype=bool)
    touched[chosen.kept] = touched[chosen.lost] = True
    changed = touched[surface.faces].any(axis=1)
    ring = surface.faces[changed].reshape(-1)
    surface.stamps[ring] = surface.stamps.max() + 1 + ring
    surface.points, surface.faces, stays = _collapsed(surface, chosen)
    rows = np.arange(len(surface.uvs))
    for side, use in enumerate((np.ones(len(chosen), dtype=bool), chosen.seam)):
        kept, lost = chosen.wedges[use, side].T
        surface.uvs[kept] = chosen.uvs[use, side]
        surface.quadrics[kept] += surface.quadrics[lost]
        rows[lost] = kept
    surface.wedges = rows[surface.wedges[stays]]
    surface.drop_unused()
    affected, near = changed[near], (np.cumsum(stays) - 1)[near]
    near[affected] = nearest_faces(surface.points, surface.faces, original.samples[affected])[0]
    return near


def _stamped(surface: Surface, kept: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """[N, 2] names of edges, which change with their neighbourhoods."""
    return np.sort(np.stack([surface.stamps[kept], surface.stamps[lost]], axis=1), axis=1)


def _among(names: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[N] bool, whether each of names [N, 2] is a row of known [M, 2]."""
    span = int(max(names.max(initial=0), known.max(initial=0))) + 1
    return np.isin(names[:, 0] * span + names[:, 1], known[:, 0] * span + known[:, 1])
