"""Where the vertices, edges and tetrahedra of a body-centred lattice are: boxes of integer coordinates, shifted copies of one another.

So "a value at each tetrahedron's second corner" is a slice of the values' volume, and a row number is a sum of three products.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

Triple = tuple[int, int, int]
Coordinates = tuple[Tensor, Tensor, Tensor]  # x, y, z [n] int64

NO_SHIFT = (0, 0, 0)
_RING = ((0, 0), (1, 0), (1, 1), (0, 1))  # corners of a cell's face in (u, w), counter-clockwise seen from its axis' positive end


def unravel(counts: Triple, flat: Tensor) -> Coordinates:
    """The coordinates of rows `flat` [n] in a box of `counts`, z fastest."""
    column = flat.div(counts[2], rounding_mode="floor")
    x = column.div(counts[1], rounding_mode="floor")
    return x, column - x * counts[1], flat - column * counts[2]


def ravel(counts: Triple, coordinates: Coordinates, shift: Triple) -> Tensor:
    """[n] rows of coordinates + shift in a box of `counts`: the inverse of `unravel` where shift is zero."""
    x, y, z = coordinates
    first = (shift[0] * counts[1] + shift[1]) * counts[2] + shift[2]
    return x * (counts[1] * counts[2]) + y * counts[2] + z + first


class VertexBlock(NamedTuple):
    """Consecutive rows of vertices that fill a box. `odd`: they lie half a cell further along each axis, as centres do."""

    start: int
    counts: Triple
    odd: bool

    @property
    def end(self) -> int:
        """The first row that is not one of them."""
        return self.start + math.prod(self.counts)

    def volume(self, values: Tensor) -> Tensor:
        """The view [X, Y, Z, ...] of `values` [N, ...] on these rows."""
        return values[self.start : self.end].view(*self.counts, *values.shape[1:])


class LatticeWindow(NamedTuple):
    """A block of vertices, shifted to where a box of edges or tetrahedra starts."""

    block: VertexBlock
    shift: Triple

    def window(self, values: Tensor, counts: Triple) -> Tensor:
        """The view [*counts, ...] of `values` [N, ...]."""
        x, y, z = (slice(s, s + n) for s, n in zip(self.shift, counts, strict=True))
        return self.block.volume(values)[x, y, z]

    def rows(self, coordinates: Coordinates) -> Tensor:
        """[n] rows."""
        return ravel(self.block.counts, coordinates, self.shift) + self.block.start

    @property
    def halves(self) -> Triple:
        """Where it starts, counted in half cells from the lattice's origin."""
        x, y, z = self.shift
        return 2 * x + self.block.odd, 2 * y + self.block.odd, 2 * z + self.block.odd


class Edges(NamedTuple):
    """A box of `counts` parallel edges, from the smaller row to the larger."""

    counts: Triple
    ends: tuple[LatticeWindow, LatticeWindow]


class Tets(NamedTuple):
    """A box of `counts` tetrahedra of one orientation, positive: where their corners are, and which boxes of edges hold their edges.

    edges  (number of the box, shift) in the order 01, 02, 03, 12, 13, 23
    """

    counts: Triple
    corners: list[LatticeWindow]
    edges: list[tuple[int, Triple]]


class Layout:
    """Everything in a lattice of `counts` cells.

    Vertices: corners, then centres. Edges: `side`s between corners along each axis, `spoke`s from a cell's eight corners to its
    centre, `link`s between centres along each axis, one diagonal of each cell face on the box's six sides (low, high of x, y, z).
    """

    def __init__(self, counts: Triple) -> None:
        self.counts = counts
        self.corner = VertexBlock(0, (counts[0] + 1, counts[1] + 1, counts[2] + 1), False)
        self.center = VertexBlock(self.corner.end, counts, True)
        self.edges = [self._side(axis) for axis in range(3)]
        self.edges += [self._spoke(bits) for bits in range(8)]
        self.edges += [self._link(axis) for axis in range(3)]
        self.edges += [self._diagonal(axis, wall) for axis in range(3) for wall in range(2)]
        self.tets = [tets for axis in range(3) for tets in (*self._inner(axis), *self._outer(axis))]

    def _side(self, axis: int) -> Edges:
        counts = _with(self.corner.counts, axis, self.counts[axis])
        return Edges(counts, (LatticeWindow(self.corner, NO_SHIFT), LatticeWindow(self.corner, _cyclic(axis, 1, 0, 0))))

    def _spoke(self, bits: int) -> Edges:
        return Edges(self.counts, (LatticeWindow(self.corner, (bits & 1, bits >> 1 & 1, bits >> 2)), LatticeWindow(self.center, NO_SHIFT)))

    def _link(self, axis: int) -> Edges:
        counts = _with(self.counts, axis, self.counts[axis] - 1)
        return Edges(counts, (LatticeWindow(self.center, NO_SHIFT), LatticeWindow(self.center, _cyclic(axis, 1, 0, 0))))

    def _diagonal(self, axis: int, wall: int) -> Edges:
        along = wall * self.counts[axis]
        ends = LatticeWindow(self.corner, _cyclic(axis, along, 0, 0)), LatticeWindow(self.corner, _cyclic(axis, along, 1, 1))
        return Edges(_with(self.counts, axis, 1), ends)

    def _inner(self, axis: int) -> list[Tets]:
        """Tetrahedra round the line from each cell's centre to the next one's along `axis`."""
        step, boxes = _cyclic(axis, 1, 0, 0), []
        for m in range(4):
            n = (m + 1) % 4
            corners = [LatticeWindow(self.center, NO_SHIFT), LatticeWindow(self.center, step), self._at(axis, 1, m), self._at(axis, 1, n)]
            edges = [(_LINK + axis, NO_SHIFT), _spoke_of(axis, 1, m), _spoke_of(axis, 1, n)]
            edges += [_spoke_of(axis, 0, m, step), _spoke_of(axis, 0, n, step), _rim_of(axis, 1, m, n)]
            boxes.append(Tets(_with(self.counts, axis, self.counts[axis] - 1), corners, edges))
        return boxes

    def _outer(self, axis: int) -> list[Tets]:
        """Tetrahedra from the outermost cells' centres to the box's two sides across `axis`."""
        boxes = []
        for wall, triangles in enumerate((((0, 2, 1), (0, 3, 2)), ((0, 1, 2), (0, 2, 3)))):
            cell = _cyclic(axis, wall * (self.counts[axis] - 1), 0, 0)
            along = wall * self.counts[axis]
            for p, q, r in triangles:
                corners = [LatticeWindow(self.center, cell), *(self._at(axis, along, m) for m in (p, q, r))]
                edges = [_spoke_of(axis, wall, m, cell) for m in (p, q, r)]
                edges += [_rim_of(axis, along, m, n) for m, n in ((p, q), (p, r), (q, r))]
                boxes.append(Tets(_with(self.counts, axis, 1), corners, edges))
        return boxes

    def _at(self, axis: int, along: int, m: int) -> LatticeWindow:
        return LatticeWindow(self.corner, _cyclic(axis, along, *_RING[m]))


_SPOKE, _LINK, _DIAGONAL = 3, 11, 14  # numbers of the first boxes of edges of each kind, behind the three of sides


def _spoke_of(axis: int, wall: int, m: int, cell: Triple = NO_SHIFT) -> tuple[int, Triple]:
    x, y, z = _cyclic(axis, wall, *_RING[m])
    return _SPOKE + x + 2 * y + 4 * z, cell


def _rim_of(axis: int, along: int, m: int, n: int) -> tuple[int, Triple]:
    """The edge between two corners of a cell face: one of its sides, or its diagonal where it lies on the box."""
    (u, w), (v, x) = _RING[m], _RING[n]
    if u != v and w != x:
        return _DIAGONAL + 2 * axis + (along > 0), NO_SHIFT
    return (axis + (1 if u != v else 2)) % 3, _cyclic(axis, along, min(u, v), min(w, x))


def _cyclic(axis: int, along: int, u: int, w: int) -> Triple:
    """(along, u, w) in x, y, z order, where u and w are the axes that follow `axis` cyclically."""
    placed = {axis: along, (axis + 1) % 3: u, (axis + 2) % 3: w}
    return placed[0], placed[1], placed[2]


def _with(counts: Triple, axis: int, value: int) -> Triple:
    changed = [value if a == axis else count for a, count in enumerate(counts)]
    return changed[0], changed[1], changed[2]
