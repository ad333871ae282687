"""Values at a lattice's vertices spread to those around them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dreamfusion_mesh.records import TetGrid

_SQUARES = 12  # of cells: what the squared edges at an inner vertex of this lattice add up to, 8 of 3/4 and 6 of 1
_STEPS_PER_CELL = 8  # of the solver, for each cell of the length: even of the longest waves, its last, a twentieth is left to solve


class Smoother:
    """The screened Laplace equation (I - length^2 Laplace) x = values on the edges of `grid`, whose inverse spreads a value over `length`.

    length  scene units; 0 leaves values as they are
    The same arguments give the same bits. Source: Nicolet et al., "Large Steps in Inverse Rendering of Geometry", 2021, eq. 8, where
    the Laplacian is that of a mesh. Solved by conjugate gradients, in as many steps as the length asks for and no more.
    """

    def __init__(self, grid: TetGrid, length: float) -> None:
        self._cells = length / grid.cell
        # On a lattice the sum of differences along the edges is a sixth of the sum of their squares times the Laplacian.
        self._weight = 6 / _SQUARES * self._cells**2
        self._around = _neighbours(grid) if length > 0 else grid.edges

    def __call__(self, values: Tensor) -> Tensor:
        """[N] values at the grid's vertices -> [N]."""
        if self._cells == 0:
            return values
        solution, rest = torch.zeros_like(values), values
        way, square = rest, rest.dot(rest)
        for _ in range(math.ceil(_STEPS_PER_CELL * self._cells)):
            image = self._applied(way)
            # Of values that are all zero, or solved, the quotients are 0 / 0.
            share = (square / way.dot(image)).nan_to_num(0.0, 0.0, 0.0)
            solution, rest = solution + share * way, rest - share * image
            before, square = square, rest.dot(rest)
            way = rest + (square / before).nan_to_num(0.0, 0.0, 0.0) * way
        return solution

    def _applied(self, values: Tensor) -> Tensor:
        differences = self._around.shape[1] * values - values[self._around].sum(dim=1)
        return values + self._weight * differences


def _neighbours(grid: TetGrid) -> Tensor:
    """[N, most] the vertices that each one has an edge to; filled up with the vertex itself, from which nothing differs."""
    ends = torch.cat([grid.edges, grid.edges.flip(1)])
    start, end = ends[ends[:, 0].argsort(stable=True)].unbind(1)
    counts = torch.bincount(start, minlength=len(grid.vertices))
    table = torch.arange(len(grid.vertices), device=start.device)[:, None].repeat(1, int(counts.max()))
    place = torch.arange(len(start), device=start.device) - (counts.cumsum(0) - counts)[start]
    table[start, place] = end
    return table
