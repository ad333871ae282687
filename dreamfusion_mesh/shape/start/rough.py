"""A rough surface of a density, at once: for looking at a field while it is fitted."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.marching import marching_tets

LEVEL = 5.0  # density per scene unit: what silhouettes say of fitted fields, 5.0 to 5.3 for those of the preset demo
LOWEST_LEVEL = 0.5  # where a field is thin: through the whole scene such a density lets a third of the light pass
_LEAST = 1e-6  # density whose logarithm is taken
_WALL = 0.05  # of the logarithm: on the box everything is outside


@torch.no_grad()
def rough_surface(density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, cells: int) -> Mesh:
    """The surface {density = LEVEL} in the box from `low` to `high` [3]; closed, without faces where there is none.

    While no density reaches twice LEVEL, as in a run's first steps, it is that of half the largest one, but of LOWEST_LEVEL at least.
    density  points [N, 3] -> [N]
    cells    along the box's longest side
    The logarithm is interpolated along edges: it is the field's own scale, in which edges are not sharp. No parts are dropped.
    """
    lattice = tet_lattice(low, high, cells)
    exponent = torch.cat([density(lattice.positions(rows)) for rows in lattice.in_chunks()]).clamp_min(_LEAST).log()
    distance = (exponent.max() - math.log(2)).clamp(math.log(LOWEST_LEVEL), math.log(LEVEL)) - exponent
    for wall in lattice.walls(distance):
        wall.clamp_min_(_WALL)
    inside = distance < 0
    rows, grid = lattice.part(inside, torch.zeros_like(inside))
    return marching_tets(grid.vertices, distance.index_select(0, rows), grid)
