"""The body-centred cubic lattice of tetrahedra: every vertex, edge and tetrahedron follows from its coordinates, so none is stored.

Each pair of cells that share a face gives four tetrahedra round the line between their centres; a cell's face on the box's side
gives two. The tetrahedra are all of one shape inside, and that shape is the roundest that tiles space (Labelle & Shewchuk,
"Isosurface Stuffing", 2007, section 3).

A lattice of 256^3 cells has 34 million vertices, 235 million edges and 201 million tetrahedra. Only values at the vertices are ever
held for all of it; tables of tetrahedra and edges are made for the few that are asked for (`Lattice.part`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dreamfusion_mesh.records import TetGrid
from dreamfusion_mesh.shape.tets.layout import Coordinates, Layout, Tets, Triple, ravel, unravel

MAX_VERTICES = 2**31 - 1  # rows of vertices are looked up in int32
_CHUNK = 1 << 18  # vertices whose positions are made at once


def tet_lattice(low: Tensor, high: Tensor, size: int) -> Lattice:
    """The lattice over the box from `low` to `high`: `size` cubic cells along its longest side, as many as needed along the others.

    low, high  [3]  scene units; the lattice takes their dtype and device
    A side that is no whole number of cells long is widened evenly, by less than one cell.
    Raises ValueError for a box without volume, for a size under 1 and for more than MAX_VERTICES vertices.
    """
    if size < 1:
        raise ValueError(f"tet_lattice: size {size}, expected at least 1 cell")
    if not low.shape == high.shape == (3,):
        raise ValueError(f"tet_lattice: low {list(low.shape)}, high {list(high.shape)}, expected [3] both")
    starts, ends = low.detach().tolist(), high.detach().tolist()
    sides = [end - start for start, end in zip(starts, ends, strict=True)]
    if not all(0 < side < math.inf for side in sides):
        raise ValueError(f"tet_lattice: box from {starts} to {ends}, expected finite coordinates, low < high")
    cell = max(sides) / size
    counts = [max(1, math.ceil(side / cell - 1e-4)) for side in sides]
    origin = [start - (count * cell - side) / 2 for start, side, count in zip(starts, sides, counts, strict=True)]
    return Lattice(torch.tensor(origin, dtype=low.dtype, device=low.device), cell, (counts[0], counts[1], counts[2]))


@dataclass(frozen=True, eq=False)
class Lattice:
    """`counts` cubic cells with edges of length `cell` from the lowest corner `origin` [3] on. Equal arguments give equal bits.

    Vertices are numbered: first the cells' corners, then their centres, z fastest.
    Raises ValueError for counts under 1, a cell that is not positive, and more than MAX_VERTICES vertices.
    """

    origin: Tensor
    cell: float
    counts: Triple

    def __post_init__(self) -> None:
        if len(self.counts) != 3 or min(self.counts) < 1:
            raise ValueError(f"Lattice.counts: {list(self.counts)}, expected three ranks of cells, each at least 1")
        if self.origin.shape != (3,) or not self.origin.is_floating_point() or not bool(self.origin.isfinite().all()):
            raise ValueError(f"Lattice.origin: {self.origin.dtype} {self.origin.tolist()}, expected three finite coordinates")
        if not 0 < self.cell < math.inf:
            raise ValueError(f"Lattice.cell: {self.cell}, expected a finite length above 0")
        if self.vertex_count > MAX_VERTICES:
            raise ValueError(f"Lattice: {list(self.counts)} cells have {self.vertex_count} vertices, expected at most {MAX_VERTICES}")

    @property
    def vertex_count(self) -> int:
        """How many vertices there are: N."""
        x, y, z = self.counts
        return (x + 1) * (y + 1) * (z + 1) + x * y * z

    @property
    def device(self) -> torch.device:
        """Where its tensors are made."""
        return self.origin.device

    def positions(self, rows: Tensor) -> Tensor:
        """[n, 3] scene units, of the vertices `rows` [n] int64."""
        center, steps = self._steps(rows)
        half = center.to(self.origin.dtype) / 2
        return torch.stack([start + self.cell * (step + half) for start, step in zip(self.origin, steps, strict=True)], dim=1)

    def on_boundary(self, rows: Tensor) -> Tensor:
        """[n] bool: which of the vertices `rows` [n] lie on the lattice's box."""
        center, steps = self._steps(rows)
        at_wall = [(step == 0) | (step == count) for step, count in zip(steps, self.counts, strict=True)]
        return (at_wall[0] | at_wall[1] | at_wall[2]) & ~center

    def walls(self, values: Tensor) -> list[Tensor]:
        """The six views of `values` [N, ...] on the sides of the box, each [n, m, ...]."""
        corners = self._layout.corner.volume(values)
        return [corners.select(axis, end) for axis in range(3) for end in (0, -1)]

    def in_chunks(self) -> Iterator[Tensor]:
        """The rows of all vertices, part by part."""
        for start in range(0, self.vertex_count, _CHUNK):
            yield torch.arange(start, min(start + _CHUNK, self.vertex_count), device=self.device)

    def changing_edges(self, inside: Tensor) -> Tensor:
        """[M, 2] vertices of the edges, the smaller first, whose two ends differ in `inside` [N] bool."""
        self._check_marks("inside", inside)
        found = []
        for counts, ends in self._layout.edges:
            first, second = (end.window(inside, counts) for end in ends)
            coordinates = unravel(counts, (first != second).reshape(-1).nonzero()[:, 0])
            found.append(torch.stack([end.rows(coordinates) for end in ends], dim=1))
        return torch.cat(found)

    def grid(self) -> TetGrid:
        """All vertices, tetrahedra and edges in tables: 0.6 kB a vertex, so for small lattices, as tests and benchmarks have."""
        everywhere = torch.ones(self.vertex_count, dtype=torch.bool, device=self.device)
        return self.part(everywhere, everywhere)[1]

    def part(self, inside: Tensor, near: Tensor) -> tuple[Tensor, TetGrid]:
        """The tetrahedra whose corners differ in `inside` [N] bool or of which a corner is in `near` [N] bool.

        Returns the rows [n] of their vertices, ascending, and a grid of these tetrahedra with its own numbering of those n vertices.
        Vertices, edges and tetrahedra keep the lattice's order, so the surface inside a part does not depend on what else the part holds.
        """
        self._check_marks("inside", inside)
        self._check_marks("near", near)
        marks = inside.to(torch.uint8) + 8 * near.to(torch.uint8)
        chosen = [unravel(box.counts, _chosen(box, marks)) for box in self._layout.tets]
        tets = torch.cat([torch.stack([c.rows(at) for c in box.corners], dim=1) for box, at in zip(self._layout.tets, chosen, strict=True)])
        rows, ranks = compact_index(tets.reshape(-1), self.vertex_count)
        tets = ranks.index_select(0, tets.T.reshape(-1)).long().reshape(4, -1).T  # corner by corner in memory, as they are read
        edges, tet_edges = self._edges(chosen, ranks)
        return rows, TetGrid(self.positions(rows), tets, edges, tet_edges, self.cell)

    def refined(self) -> Lattice:
        """The lattice of half the cell, which cuts each tetrahedron in eight.

        Inside that is red refinement: four parts at the corners, and the octahedron between them cut along its shortest diagonal.
        On the box the corner at the cell's centre and the part below it are cut the other way.
        """
        x, y, z = self.counts
        return Lattice(self.origin, self.cell / 2, (2 * x, 2 * y, 2 * z))

    def carry(self, values: Tensor) -> Tensor:
        """[N', ...] at the refined lattice's vertices, of `values` [N, ...] that are linear on each tetrahedron.

        Each new vertex is an old one or the middle of an old edge, and each new tetrahedron lies in one old: the function is the same.
        """
        if len(values) != self.vertex_count:
            raise ValueError(f"values: shape {list(values.shape)}, expected [{self.vertex_count}, ...], one row a vertex of the lattice")
        old, new = self._layout, self.refined()._layout
        carried = values.new_empty(new.center.end, *values.shape[1:])
        corners = new.corner.volume(carried)
        corners[::2, ::2, ::2] = old.corner.volume(values)
        corners[1::2, 1::2, 1::2] = old.center.volume(values)
        for counts, (first, second) in old.edges:
            # The middle, in quarter cells; where these are odd it is the centre of one of the new cells.
            quarters = [a + b for a, b in zip(first.halves, second.halves, strict=True)]
            target = new.center if quarters[0] % 2 else new.corner
            x, y, z = (slice(q // 2, q // 2 + 2 * n, 2) for q, n in zip(quarters, counts, strict=True))
            target.volume(carried)[x, y, z] = (first.window(values, counts) + second.window(values, counts)) / 2
        return carried

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self.counts)

    def _steps(self, rows: Tensor) -> tuple[Tensor, Coordinates]:
        """Which vertices are centres, and their coordinates among the corners or the centres."""
        center = self._layout.center
        is_center = rows >= center.start
        flat = rows - center.start * is_center
        (_, y, z), extra = self.counts, (~is_center).long()
        column = flat.div(z + extra, rounding_mode="floor")
        x = column.div(y + extra, rounding_mode="floor")
        return is_center, (x, column - x * (y + extra), flat - column * (z + extra))

    def _edges(self, chosen: list[Coordinates], ranks: Tensor) -> tuple[Tensor, Tensor]:
        """The edges [E, 2] of the `chosen` tetrahedra of each box, as `ranks` of vertices, and the tetrahedra's [T, 6] rows of them.

        Box by box of edges, so that what a look-up takes is a box and not all edges of the lattice.
        """
        boxes = self._layout.tets
        tet_edges = torch.empty(sum(len(at[0]) for at in chosen), 6, dtype=torch.int64, device=self.device)
        parts = tet_edges.split([len(at[0]) for at in chosen])
        edges, count = [], 0
        for kind, (counts, ends) in enumerate(self._layout.edges):
            uses = [(b, column, box.edges[column][1]) for b, box in enumerate(boxes) for column in range(6) if box.edges[column][0] == kind]
            flat = [ravel(counts, chosen[b], shift) for b, _, shift in uses]
            found, order = compact_index(torch.cat(flat), math.prod(counts))
            for (b, column, _), coordinates in zip(uses, flat, strict=True):
                parts[b][:, column] = order.index_select(0, coordinates) + count
            at = unravel(counts, found)
            edges.append(torch.stack([ranks.index_select(0, end.rows(at)) for end in ends], dim=1))
            count += len(found)
        return torch.cat(edges).long(), tet_edges

    def _check_marks(self, name: str, marks: Tensor) -> None:
        if marks.dtype != torch.bool or marks.shape != (self.vertex_count,) or marks.device != self.device:
            raise ValueError(
                f"{name}: {marks.dtype} {list(marks.shape)} on {marks.device}, expected torch.bool [{self.vertex_count}] on {self.device}"
            )


def _chosen(box: Tets, marks: Tensor) -> Tensor:
    """[n] which tetrahedra of a box have marks that sum to neither 0 (all outside) nor 4 (all inside)."""
    first, *others = (corner.window(marks, box.counts) for corner in box.corners)
    total = first.clone()
    for other in others:
        total += other
    return ((total != 0) & (total != 4)).reshape(-1).nonzero()[:, 0]


def compact_index(index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The distinct values of `index` [n] (each below `count`) in order, and [count] int32 with the rank of each among them."""
    used = torch.zeros(count, dtype=torch.bool, device=index.device)
    used[index] = True
    rows = used.nonzero()[:, 0]
    ranks = torch.empty(count, dtype=torch.int32, device=index.device)
    ranks[rows] = torch.arange(len(rows), dtype=torch.int32, device=index.device)
    return rows, ranks
