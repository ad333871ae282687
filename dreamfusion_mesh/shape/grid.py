"""The body-centred cubic grid of tetrahedra: every vertex, edge and tetrahedron is a lattice, so nothing is searched for.

Each pair of cells that share a face gives four tetrahedra round the line between their centres; a cell's face on the box's side
gives two. The tetrahedra are all of one shape inside, and that shape is the roundest that tiles space (Labelle & Shewchuk,
"Isosurface Stuffing", 2007, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dreamfusion_mesh.records import TetGrid

Triple = tuple[int, int, int]


def tet_grid(low: Tensor, high: Tensor, size: int) -> TetGrid:
    """Tetrahedra over the box from `low` to `high`: `size` cubic cells along its longest side, and as many as needed along the others.

    low, high  [3]  scene units; the grid takes their dtype and device
    A side that is no whole number of cells long is widened evenly, by less than one cell.
    Raises ValueError for a box without volume and for a size under 1.
    """
    if size < 1:
        raise ValueError(f"tet_grid: size {size}, expected at least 1 cell")
    starts, ends = low.detach().tolist(), high.detach().tolist()
    sides = [end - start for start, end in zip(starts, ends, strict=True)]
    if len(sides) != 3 or not all(0 < side < math.inf for side in sides):
        raise ValueError(f"tet_grid: box from {starts} to {ends}, expected three finite coordinates each, low < high")
    cell = max(sides) / size
    counts = [max(1, math.ceil(side / cell - 1e-4)) for side in sides]
    origin = [start - (count * cell - side) / 2 for start, side, count in zip(starts, sides, counts, strict=True)]
    return bcc_grid(torch.tensor(origin, dtype=low.dtype, device=low.device), cell, counts)


def bcc_grid(origin: Tensor, cell: float, counts: Sequence[int]) -> TetGrid:
    """The grid of `counts` cubic cells with edges of length `cell` whose lowest corner is `origin` [3].

    The same three arguments give the same bits.
    """
    shape = (int(counts[0]), int(counts[1]), int(counts[2]))
    layout = _Layout(shape, origin.device)
    tets, tet_edges = layout.tets()
    return TetGrid(layout.positions(origin, cell), tets, layout.edges(), tet_edges, float(cell))


class _Lattice(NamedTuple):
    """Consecutive rows on a box of whole-number positions, z fastest."""

    start: int
    counts: Triple

    @property
    def end(self) -> int:
        return self.start + math.prod(self.counts)

    def rows(self, counts: Triple, shift: Triple, device: torch.device) -> Tensor:
        """[n] rows of the positions shift + (0 .. counts - 1)."""
        strides = (self.counts[1] * self.counts[2], self.counts[2], 1)
        x, y, z = (torch.arange(s, s + n, device=device) * stride for n, s, stride in zip(counts, shift, strides, strict=True))
        return (x[:, None, None] + y[:, None] + z + self.start).reshape(-1)


Place = tuple[_Lattice, Triple]  # a lattice, seen from the position where a block of it starts

_RING = ((0, 0), (1, 0), (1, 1), (0, 1))  # corners of a cell's face in (u, w), counter-clockwise seen from its axis' positive end
_HERE = (0, 0, 0)


def _turn(axis: int, along: int, u: int, w: int) -> Triple:
    """(along, u, w) in x, y, z order, where u and w are the axes that follow `axis` cyclically."""
    placed = {axis: along, (axis + 1) % 3: u, (axis + 2) % 3: w}
    return placed[0], placed[1], placed[2]


def _with(counts: Triple, axis: int, value: int) -> Triple:
    changed = [value if a == axis else count for a, count in enumerate(counts)]
    return changed[0], changed[1], changed[2]


class _Layout:
    """Which rows the vertices and edges of a grid of `counts` cells have.

    Vertices: corners, then centres. Edges: `side`s between corners along each axis, `spoke`s from a cell's eight corners to its
    centre, `link`s between centres along each axis, one `diagonal` of each cell face on the box's six sides (low, high of x, y, z).
    """

    def __init__(self, counts: Triple, device: torch.device) -> None:
        corners = (counts[0] + 1, counts[1] + 1, counts[2] + 1)
        self.counts, self.device = counts, device
        self.corner = _Lattice(0, corners)
        self.center = _Lattice(self.corner.end, counts)
        shapes = [_with(corners, axis, counts[axis]) for axis in range(3)]
        shapes += [counts] * 8
        shapes += [_with(counts, axis, counts[axis] - 1) for axis in range(3)]
        shapes += [_with(counts, axis, 1) for axis in (0, 0, 1, 1, 2, 2)]
        lattices, end = [], 0
        for shape in shapes:
            lattices.append(_Lattice(end, shape))
            end = lattices[-1].end
        self.edge_count = end
        self.side, self.spoke, self.link, self.diagonal = lattices[:3], lattices[3:11], lattices[11:14], lattices[14:]

    def positions(self, origin: Tensor, cell: float) -> Tensor:
        """[N, 3] of the vertices."""

        def lattice(counts: Triple, shift: float) -> Tensor:
            steps = [torch.arange(n, device=self.device, dtype=origin.dtype) + shift for n in counts]
            axes = [start + cell * step for start, step in zip(origin, steps, strict=True)]
            return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)

        return torch.cat([lattice(self.corner.counts, 0.0), lattice(self.center.counts, 0.5)])

    def edges(self) -> Tensor:
        """[E, 2] rows of vertices, the smaller first."""
        rows = torch.empty(self.edge_count, 2, dtype=torch.int64, device=self.device)

        def put(edge: _Lattice, first: Place, second: Place) -> None:
            for column, (vertices, shift) in enumerate((first, second)):
                rows[edge.start : edge.end, column] = vertices.rows(edge.counts, shift, self.device)

        for axis in range(3):
            put(self.side[axis], (self.corner, _HERE), (self.corner, _turn(axis, 1, 0, 0)))
            put(self.link[axis], (self.center, _HERE), (self.center, _turn(axis, 1, 0, 0)))
            for wall in range(2):
                along = wall * self.counts[axis]
                put(self.diagonal[2 * axis + wall], (self.corner, _turn(axis, along, 0, 0)), (self.corner, _turn(axis, along, 1, 1)))
        for corner, spoke in enumerate(self.spoke):
            put(spoke, (self.corner, (corner & 1, corner >> 1 & 1, corner >> 2)), (self.center, _HERE))
        return rows

    def tets(self) -> tuple[Tensor, Tensor]:
        """[T, 4] rows of vertices, positively oriented, and [T, 6] rows of edges."""
        blocks = [block for axis in range(3) for block in (*self._inner(axis), *self._outer(axis))]
        count = sum(math.prod(shape) for shape, _, _ in blocks)
        tets = torch.empty(count, 4, dtype=torch.int64, device=self.device)
        tet_edges = torch.empty(count, 6, dtype=torch.int64, device=self.device)
        start = 0
        for shape, corners, edges in blocks:
            end = start + math.prod(shape)
            for table, places in ((tets, corners), (tet_edges, edges)):
                for column, (lattice, shift) in enumerate(places):
                    table[start:end, column] = lattice.rows(shape, shift, self.device)
            start = end
        return tets, tet_edges

    def _inner(self, axis: int) -> list[tuple[Triple, list[Place], list[Place]]]:
        """Blocks of tetrahedra round the line from each cell's centre to the next one's along `axis`."""
        step, blocks = _turn(axis, 1, 0, 0), []
        for m in range(4):
            n = (m + 1) % 4
            corners = [(self.center, _HERE), (self.center, step), self._corner(axis, 1, m), self._corner(axis, 1, n)]
            edges = [(self.link[axis], _HERE), self._spoke(axis, 1, m), self._spoke(axis, 1, n)]
            edges += [self._spoke(axis, 0, m, step), self._spoke(axis, 0, n, step), self._rim(axis, 1, m, n)]
            blocks.append((self.link[axis].counts, corners, edges))
        return blocks

    def _outer(self, axis: int) -> list[tuple[Triple, list[Place], list[Place]]]:
        """Blocks of tetrahedra from the outermost cells' centres to the box's two sides across `axis`."""
        blocks = []
        for wall, triangles in enumerate((((0, 2, 1), (0, 3, 2)), ((0, 1, 2), (0, 2, 3)))):
            cell = _turn(axis, wall * (self.counts[axis] - 1), 0, 0)
            along = wall * self.counts[axis]
            for p, q, r in triangles:
                corners = [(self.center, cell), *(self._corner(axis, along, m) for m in (p, q, r))]
                edges = [self._spoke(axis, wall, m, cell) for m in (p, q, r)]
                edges += [self._rim(axis, along, m, n) for m, n in ((p, q), (p, r), (q, r))]
                blocks.append((_with(self.counts, axis, 1), corners, edges))
        return blocks

    def _corner(self, axis: int, along: int, m: int) -> Place:
        return self.corner, _turn(axis, along, *_RING[m])

    def _spoke(self, axis: int, wall: int, m: int, cell: Triple = _HERE) -> Place:
        x, y, z = _turn(axis, wall, *_RING[m])
        return self.spoke[x + 2 * y + 4 * z], cell

    def _rim(self, axis: int, along: int, m: int, n: int) -> Place:
        """The edge between two corners of a cell face: one of its sides, or its diagonal where it lies on the box."""
        (u, w), (v, x) = _RING[m], _RING[n]
        if u != v and w != x:
            return self.diagonal[2 * axis + (along > 0)], _HERE
        return self.side[(axis + (1 if u != v else 2)) % 3], _turn(axis, along, min(u, v), min(w, x))
