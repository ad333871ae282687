"""Closed triangle solids: almost all of them a loft of rings, so that one function holds winding, caps and indices.

+Y up, +Z front, faces counter-clockwise seen from outside, lengths in the kind's own units (world.py scales the whole object).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
_AXES = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}


@dataclass(frozen=True, eq=False)
class Solid:
    """One closed surface.

    vertices   [V, 3] float64
    faces      [F, 3] int64, counter-clockwise seen from outside
    """

    vertices: Array
    faces: Array

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Solid:
        """Moved by (x, y, z)."""
        return Solid(self.vertices + np.array([x, y, z]), self.faces)

    def turn(self, axis: str, degrees: float) -> Solid:
        """Turned about an axis through the origin, counter-clockwise seen from its tip."""
        first, second = _AXES[axis]
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turned = self.vertices.copy()
        turned[:, first] = c * self.vertices[:, first] - s * self.vertices[:, second]
        turned[:, second] = s * self.vertices[:, first] + c * self.vertices[:, second]
        return Solid(turned, self.faces)

    def scaled(self, x: float, y: float, z: float) -> Solid:
        """Stretched about the origin; a mirror image keeps its faces outward."""
        faces = self.faces if x * y * z > 0 else self.faces[:, ::-1]
        return Solid(self.vertices * np.array([x, y, z]), faces)

    def with_corners(self, corners: Array) -> Solid:
        """The same faces with their corners [F, 3, 3] elsewhere; those that faces share have to be in one place."""
        moved = self.vertices.copy()
        moved[self.faces] = corners
        return Solid(moved, self.faces)

    def volume(self) -> float:
        """Signed volume; positive where the faces look outward."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def loft(rings: Array, first: Array | None = None, last: Array | None = None, loop: bool = False, convex: bool = True) -> Solid:
    """Rings [R, N, 3] joined one to the next, the ends closed.

    first, last   the points that the end rings close to; by default their means
    loop          the last ring joins the first instead
    convex        the end rings see their closing point whole; otherwise they are cut into ears (flat ends alone)
    """
    count, sides = rings.shape[:2]
    row = np.arange(count if loop else count - 1)[:, None]
    below = row * sides + np.arange(sides)
    right = row * sides + (np.arange(sides) + 1) % sides
    above, across = (below + sides) % (count * sides), (right + sides) % (count * sides)
    faces = [np.stack((below, right, across), -1).reshape(-1, 3), np.stack((below, across, above), -1).reshape(-1, 3)]
    points = [rings.reshape(-1, 3)]
    if not loop:
        for ring, tip, start, flip in ((rings[0], first, 0, False), (rings[-1], last, (count - 1) * sides, True)):
            corner = start + np.arange(sides)
            if convex:
                apex = count * sides + len(points) - 1
                points.append((ring.mean(0) if tip is None else tip)[None])
                cap = np.stack((corner, np.full(sides, apex), np.roll(corner, -1)), -1)
            else:
                cap = corner[ears(ring)][:, ::-1]
            faces.append(cap[:, ::-1] if flip else cap)
    solid = Solid(np.concatenate(points), np.concatenate(faces))
    return solid if solid.volume() > 0 else Solid(solid.vertices, solid.faces[:, ::-1])


def ears(ring: Array) -> Array:
    """[N - 2, 3] triangles of a flat simple polygon [N, 3], turning as it turns. Source: Meisters 1975, two ears theorem."""
    normal = np.cross(ring, np.roll(ring, -1, 0)).sum(0)
    keep = [axis for axis in range(3) if axis != int(np.abs(normal).argmax())]
    flat = ring[:, keep]
    (x0, y0), (x1, y1) = flat.T, np.roll(flat, -1, 0).T
    sign = np.sign((x0 * y1 - x1 * y0).sum())
    left, made = list(range(len(ring))), []
    while len(left) > 3:
        for i in range(len(left)):
            a, b, c = left[i - 1], left[i], left[(i + 1) % len(left)]
            if sign * _area(flat[a], flat[b], flat[c]) > 1e-12 and not _holds_any(flat, (a, b, c), left, sign):
                break
        made.append((a, b, c))
        left.pop(i)
    return np.array([*made, tuple(left)])


def _area(a: Array, b: Array, c: Array) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _holds_any(flat: Array, ear: tuple[int, int, int], left: list[int], sign: float) -> bool:
    corners = [flat[i] for i in ear]
    others = [flat[i] for i in left if i not in ear]
    return any(all(sign * _area(corners[k - 1], corners[k], point) >= 0 for k in range(3)) for point in others)


def _circle(sides: int) -> tuple[Array, Array]:
    angle = np.arange(sides) * (2 * math.pi / sides)
    return np.sin(angle), np.cos(angle)


def lathe(profile: Sequence[tuple[float, float]], sides: int = 20) -> Solid:
    """A profile of (radius, height), from one end to the other, turned about +Y. A radius of 0 at an end closes it to a tip."""
    points = np.array(profile, dtype=float)
    inner = points[(0 if points[0, 0] > 0 else 1) : (len(points) if points[-1, 0] > 0 else -1)]
    x, z = _circle(sides)
    rings = np.stack((inner[:, :1] * x, np.repeat(inner[:, 1:], sides, 1), inner[:, :1] * z), -1)
    return loft(rings, np.array([0, points[0, 1], 0]), np.array([0, points[-1, 1], 0]))


def ball(rx: float, ry: float | None = None, rz: float | None = None, sides: int = 18) -> Solid:
    """An ellipsoid about the origin."""
    angle = np.linspace(-math.pi / 2, math.pi / 2, sides // 2 + 1)
    unit = lathe([(max(math.cos(a), 0.0) if 0 < i < len(angle) - 1 else 0.0, math.sin(a)) for i, a in enumerate(angle)], sides)
    return unit.scaled(rx, rx if ry is None else ry, rx if rz is None else rz)


def cylinder(r: float, height: float, top: float | None = None, sides: int = 20, bevel: float = 0.0) -> Solid:
    """About +Y, centred; `top` is the radius above (0 makes a cone), `bevel` is cut off both rims."""
    up, h = r if top is None else top, height / 2
    if bevel:
        return lathe([(r - bevel, -h), (r, -h + bevel), (up, h - bevel), (max(up - bevel, 1e-3), h)], sides)
    return lathe([(r, -h), (up, h)], sides)


def cone(r: float, height: float, sides: int = 20) -> Solid:
    """About +Y, centred."""
    return cylinder(r, height, top=0.0, sides=sides)


def torus(big: float, small: float, sides: int = 24, around: int = 10, squash: float = 1.0) -> Solid:
    """About +Y: ring radius `big`, tube radius `small`, the tube's height times `squash`."""
    (x, z), (s, c) = _circle(sides), _circle(around)
    radius = big + small * c
    rings = np.stack((x[:, None] * radius, np.broadcast_to(small * squash * s, (sides, around)), z[:, None] * radius), -1)
    return loft(rings, loop=True)


def extrude(outline: Sequence[tuple[float, float]], depth: float, bevel: float = 0.0) -> Solid:
    """A simple polygon (x, y), counter-clockwise, drawn out along z from -depth / 2 to depth / 2; `bevel` is cut off its edges."""
    flat = np.array(outline, dtype=float)
    forward = np.roll(flat, -1, 0) - flat
    outward = np.stack((forward[:, 1], -forward[:, 0]), -1) / np.linalg.norm(forward, axis=1, keepdims=True)
    corner = outward + np.roll(outward, 1, 0)
    corner = corner / np.maximum((corner * np.roll(outward, 1, 0)).sum(1, keepdims=True), 0.3)
    levels = [(-1, bevel), (-1, 0.0), (1, 0.0), (1, bevel)] if bevel else [(-1, 0.0), (1, 0.0)]
    rings = []
    for side, inset in levels:
        z = side * (depth / 2 - (bevel if inset == 0.0 else 0.0))
        rings.append(np.column_stack((flat - inset * corner, np.full(len(flat), z))))
    return loft(np.stack(rings), convex=False)


def box(width: float, height: float, depth: float, bevel: float | None = None) -> Solid:
    """Centred; its edges are cut by `bevel` (by default 6 % of the smallest side)."""
    b = 0.06 * min(width, height, depth) if bevel is None else bevel
    w, h = width / 2, height / 2
    if b == 0:
        return extrude([(-w, -h), (w, -h), (w, h), (-w, h)], depth)
    outline = [(-w + b, -h), (w - b, -h), (w, -h + b), (w, h - b), (w - b, h), (-w + b, h), (-w, h - b), (-w, -h + b)]
    return extrude(outline, depth, b * 0.6)


def tube(points: Sequence[tuple[float, float, float]], radius: float | Sequence[float], sides: int = 10, loop: bool = False) -> Solid:
    """A round tube along points; one radius, or one a point (at the ends 0 makes a tip). Frames are carried along without twist."""
    path = np.array(points, dtype=float)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), (len(path),)).copy()
    along = (np.roll(path, -1, 0) - np.roll(path, 1, 0)) if loop else np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normal = np.cross(along[0], np.eye(3)[int(np.abs(along[0]).argmin())])
    rings, (s, c) = [], _circle(sides)
    for point, direction, r in zip(path, along, np.maximum(radii, 1e-3), strict=True):
        normal = normal - direction * (normal @ direction)
        normal /= np.linalg.norm(normal)
        rings.append(point + r * (c[:, None] * normal + s[:, None] * np.cross(direction, normal)))
    return loft(np.stack(rings), loop=loop)


def arc(center: tuple[float, float], radius: tuple[float, float], degrees: tuple[float, float], count: int) -> list[tuple[float, float]]:
    """`count` points (x, y) of an ellipse, angles counter-clockwise from +x."""
    angles = np.radians(np.linspace(*degrees, count))
    return [(center[0] + radius[0] * math.cos(a), center[1] + radius[1] * math.sin(a)) for a in angles]


def star(points: int, outer: float, inner: float) -> list[tuple[float, float]]:
    """The outline (x, y) of a star, one tip up."""
    made = []
    for i in range(2 * points):
        a, r = math.pi / 2 + i * math.pi / points, (outer, inner)[i % 2]
        made.append((r * math.cos(a), r * math.sin(a)))
    return made


def corner_normals(vertices: Array, faces: Array, crease_degrees: float = 50.0) -> Array:
    """Unit normals [F, 3, 3] of the faces' corners: the mean, by area, of the faces at the vertex that bend less than the crease."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    scaled = np.cross(b - a, c - a)
    unit = scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-20)
    corner = faces.reshape(-1)
    order = np.argsort(corner, kind="stable")
    counts = np.bincount(corner, minlength=len(vertices))
    own = np.repeat(order, counts[corner[order]])
    starts = np.repeat((np.cumsum(counts) - counts)[corner[order]], counts[corner[order]])
    within = np.arange(len(own)) - np.repeat(np.cumsum(counts[corner[order]]) - counts[corner[order]], counts[corner[order]])
    other = order[starts + within] // 3
    close = (unit[own // 3] * unit[other]).sum(1) > math.cos(math.radians(crease_degrees))
    total = np.zeros((len(corner), 3))
    np.add.at(total, own[close], scaled[other[close]])
    return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)).reshape(-1, 3, 3)
