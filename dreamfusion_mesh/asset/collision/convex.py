"""Convex hulls as sets of points: their planes, fewer corners, and merged ones. Lengths are shares of the object's diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_THICKNESS = 1e-3  # that a hull without volume is given
_LEAST_VOLUME = 1e-10
_PUSHES, _PUSH = 40, 0.5  # each by half of what is missing: all corners of a face push it
_CONTAINED = 1e-9
_SLIVER = 1e-5  # under this height a face is lost where the hull's corners are rounded to float32
_GOLDEN = (1 + 5**0.5) / 2
_DIRECTIONS = np.array(  # the 32 corners of a dodecahedron and an icosahedron, as evenly spread as so many can be
    [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    + [np.roll((0, y / _GOLDEN, z * _GOLDEN), turn) for turn in range(3) for y in (-1, 1) for z in (-1, 1)]
    + [np.roll((0, y * _GOLDEN, z), turn) * (3 / (_GOLDEN + 2)) ** 0.5 for turn in range(3) for y in (-1, 1) for z in (-1, 1)]
)


@dataclass(frozen=True, eq=False)
class Hull:
    """The convex hull of some points.

    points   [V, 3]  its corners
    faces    [F, 3]  counter-clockwise from outside
    normals  [F, 3]  of unit length; a point p is inside where p @ normals.T <= offsets
    offsets  [F]
    thickened  the points are flat
    """

    solid: Any
    points: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    offsets: np.ndarray
    thickened: bool

    @property
    def volume(self) -> float:
        """In cubes of the object's diagonal."""
        return float(self.solid.volume())

    def outside(self, points: np.ndarray) -> np.ndarray:
        """[N] how far points [N, 3] are beyond the hull's planes; zero or less inside."""
        return (points @ self.normals.T - self.offsets).max(axis=1)


def hull_of(points: np.ndarray) -> Hull:
    """The convex hull of points [N, 3], one or more; flat ones get a thickness."""
    import manifold3d

    solid = manifold3d.Manifold.hull_points(np.ascontiguousarray(points))
    thickened = solid.is_empty() or solid.volume() < _LEAST_VOLUME
    if thickened:
        solid = manifold3d.Manifold.hull_points(_thickened(points))
    arrays = solid.to_mesh64()
    corners, faces = np.array(arrays.vert_properties)[:, :3], np.array(arrays.tri_verts).astype(np.int64)
    a, b, c = corners[faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals[lengths > 0] / lengths[lengths > 0, None]
    return Hull(solid, corners, faces, normals, (corners @ normals.T).max(axis=0), thickened)


def closed_solid(points: np.ndarray, faces: np.ndarray) -> Any | None:
    """A surface as manifold3d's solid; None where it is not closed or does not enclose a volume."""
    import manifold3d

    solid = manifold3d.Manifold(manifold3d.Mesh64(np.ascontiguousarray(points), np.ascontiguousarray(faces).astype(np.uint64)))
    return solid if solid.status() == manifold3d.Error.NoError and solid.volume() > 0 else None


def union_volume(hulls: list[Hull]) -> float:
    """Of all hulls together, where they overlap counted once."""
    import manifold3d

    return float(manifold3d.Manifold.batch_boolean([hull.solid for hull in hulls], manifold3d.OpType.Add).volume())


def _thickened(points: np.ndarray) -> np.ndarray:
    """Points moved both ways along each direction in which they do not spread."""
    _, spread, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=True)
    spread = np.append(spread, np.zeros(3))[:3] / np.sqrt(len(points))
    for axis in axes[spread < _THICKNESS]:
        points = np.concatenate([points + _THICKNESS / 2 * axis, points - _THICKNESS / 2 * axis])
    return np.ascontiguousarray(points)


def with_fewer_corners(hull: Hull, most: int, left_out: float = 0.0) -> Hull:
    """A hull of at most `most` corners, 6 or more, that contains `hull` but for slivers and a layer of thickness `left_out` at most.

    The corners farthest out are taken, one by one or by directions all round, whichever gives the smaller hull, and pushed outwards where
    the rest of the hull stands out.
    """
    found = _without_slivers(hull)
    while len(found.points) > most:
        corners = [_farthest_corners(found.points, most)]
        if most >= len(_DIRECTIONS):
            corners.append(_corners_all_round(found.points))
        tried = [_without_slivers(_grown(found, hull_of(points), left_out)) for points in corners]
        found = min(tried, key=lambda entry: (len(entry.points) > most, entry.volume))
    return found


def _without_slivers(hull: Hull) -> Hull:
    """Without corners that lie on an edge or by another corner but for _SLIVER: their faces would be flat in float32."""
    while True:
        corners = hull.points[hull.faces]
        lengths = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        a, b, c = corners.transpose(1, 0, 2)
        heights = np.linalg.norm(np.cross(b - a, c - a), axis=1) / np.maximum(lengths.max(axis=1), 1e-300)
        lowest = int(heights.argmin())
        if heights[lowest] > _SLIVER:
            return hull
        shorter = hull.faces[lowest, (lengths[lowest].argmax() + 2) % 3]
        hull = hull_of(np.delete(hull.points, shorter, axis=0))


def _grown(hull: Hull, found: Hull, left_out: float) -> Hull:
    """The corners of `found` pushed outwards until it contains `hull` but for `left_out`."""
    for _ in range(_PUSHES):
        missing = (hull.points @ found.normals.T).max(axis=0) - found.offsets - left_out
        if missing.max() <= _CONTAINED:
            return found
        found = hull_of(_pushed(found, np.maximum(missing, 0.0)))
    center = hull.points.mean(axis=0)
    room = found.offsets - found.normals @ center  # of each plane from the centre, which lies inside
    wanted = (hull.points @ found.normals.T).max(axis=0) - left_out - found.normals @ center
    return hull_of(center + (found.points - center) * max(1.0, float((wanted / room).max())))


def _farthest_corners(points: np.ndarray, most: int) -> np.ndarray:
    """Corners that span most of the hull: each is the farthest from the hull of those before."""
    chosen = sorted({int(index) for axis in np.eye(3) for index in ((points @ axis).argmin(), (points @ axis).argmax())})[:most]
    while len(chosen) < most:
        outside = hull_of(points[chosen]).outside(points)
        outside[chosen] = -np.inf
        chosen.append(int(outside.argmax()))
    return points[chosen]


def _corners_all_round(points: np.ndarray) -> np.ndarray:
    """The corners farthest along each of _DIRECTIONS, once the hull is stretched to a box of equal sides."""
    extent = np.maximum(np.ptp(points, axis=0), 1e-300)
    return points[np.unique((points / extent @ _DIRECTIONS.T).argmax(axis=0))]


def _pushed(hull: Hull, missing: np.ndarray) -> np.ndarray:
    """Corners moved along the mean normal of their faces, towards where each of those is as far out as it is asked to be."""
    points = hull.points.copy()
    a, b, c = points[hull.faces].transpose(1, 0, 2)
    kept = np.linalg.norm(np.cross(b - a, c - a), axis=1) > 0
    faces, normals = hull.faces[kept], np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], hull.normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    step = np.zeros(len(points))
    for corner in range(3):
        slope = (normals[faces[:, corner]] * hull.normals).sum(axis=1)
        np.maximum.at(step, faces[:, corner], missing / np.maximum(slope, 0.3))
    return points + _PUSH * step[:, None] * normals


def merged(groups: list[np.ndarray], most: int) -> list[np.ndarray]:
    """Groups of points joined until there are at most `most`: always the two whose common box adds least volume."""
    low, high = (np.stack([edge(group, axis=0) for group in groups]) for edge in (np.min, np.max))
    members, alive = [[index] for index in range(len(groups))], np.ones(len(groups), dtype=bool)
    cost = np.stack([_added(low, high, index) for index in range(len(groups))])
    for _ in range(len(groups) - most):
        one, other = sorted(int(index) for index in np.unravel_index(cost.argmin(), cost.shape))
        members[one] += members[other]
        alive[other] = False
        low[one], high[one] = np.minimum(low[one], low[other]), np.maximum(high[one], high[other])
        cost[other], cost[:, other] = np.inf, np.inf
        fresh = np.where(alive, _added(low, high, one), np.inf)
        cost[one], cost[:, one] = fresh, fresh
    return [np.concatenate([groups[index] for index in members[row]]) for row in np.flatnonzero(alive)]


def _added(low: np.ndarray, high: np.ndarray, index: int) -> np.ndarray:
    """[N] volume that the common box of one box and each other one has beyond the two; flat boxes count with a thickness."""
    common = (np.maximum(high, high[index]) - np.minimum(low, low[index]) + _THICKNESS).prod(axis=1)
    volume = (high - low + _THICKNESS).prod(axis=1)
    added = common - volume - volume[index]
    added[index] = np.inf
    return added
