"""How far two surfaces lie apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.samples import spread_points
from dreamfusion_mesh.kernels.trace import SurfaceTree
from dreamfusion_mesh.records import Mesh

_SAMPLES = 50_000  # points of each surface, spread evenly over its area, beside its vertices
_MOST_VERTICES = 200_000  # of each surface; where there are more, they are taken at equal steps


def deviation_from(original: Mesh) -> Callable[[Mesh], float]:
    """A function that gives the symmetric Hausdorff distance of a mesh from `original`, over the original's diagonal.

    Measured from vertices and evenly spread points of each surface to the closest point of the other, so a lower bound, close where samples
    are dense. Both on the CPU; unused vertices do not count. Infinity where a surface has no area.
    Source: Cignoni et al., "Metro: measuring error on simplified surfaces", 1998.
    """
    vertices = original.vertices.detach().double()
    low, high = vertices.amin(dim=0), vertices.amax(dim=0)
    diagonal = (high - low).norm()

    def prepared(mesh: Mesh) -> tuple[Tensor, SurfaceTree] | None:
        unit = (mesh.vertices.detach().double() - low) / diagonal
        spread, _ = spread_points(unit, mesh.faces, _SAMPLES)
        if len(spread) == 0:
            return None
        used = mesh.faces.unique()
        corners = unit[used[:: -(-len(used) // _MOST_VERTICES)]]
        return torch.cat([corners, spread]), SurfaceTree(unit, mesh.faces)

    own = prepared(original) if len(vertices) and diagonal > 0 else None

    def deviation(mesh: Mesh) -> float:
        other = prepared(mesh) if own is not None else None
        if own is None or other is None:
            return float("inf")
        return max(float(own[1].closest(other[0])[2].max()), float(other[1].closest(own[0])[2].max()))

    return deviation
