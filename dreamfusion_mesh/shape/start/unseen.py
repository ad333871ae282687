"""What no view looks into is solid: voids inside, and hollow undersides that only a camera below the object would show.

Nothing guides a field there, so whether it is dense or empty is left over from its start. Source: the photo hull, the largest solid that
agrees with all views (Kutulakos and Seitz, "A Theory of Shape by Space Carving", 2000).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dreamfusion_mesh.kernels.trace import SurfaceTree
from dreamfusion_mesh.shape.tets.surface import TetSurface

_AZIMUTHS = 16
_ELEVATIONS = 6
_FAR = 5.0  # scene units: beyond the scene from anywhere in it
_LEAST = 0.01  # of the cell: the least distance of a vertex that turns solid


@torch.no_grad()
def fill_unseen(surface: TetSurface, lowest: float) -> TetSurface:
    """`surface`, not deformed yet, with those vertices inside that are hidden from far away at all elevations from `lowest` degrees to 90.

    A vertex that turns solid keeps its distance, with the other sign. The given surface is returned where none does.
    """
    mesh = surface.mesh()
    if len(mesh.faces) == 0:
        return surface
    tree, lattice = SurfaceTree(mesh.vertices, mesh.faces), surface.lattice
    low, high = mesh.vertices.amin(dim=0), mesh.vertices.amax(dim=0)
    unseen = []
    for part in lattice.in_chunks():
        rows = part[(surface.sdf[part] > 0) & ~lattice.on_boundary(part)]
        points = lattice.positions(rows)
        unseen.append(_hidden(tree, rows[((points > low) & (points < high)).all(dim=1)], surface, lowest))
    rows = torch.cat(unseen)
    if len(rows) == 0:
        return surface
    sdf = surface.sdf.detach().clone()
    sdf[rows] = -sdf[rows].clamp_min(_LEAST * lattice.cell)
    return TetSurface(lattice, sdf)


def _hidden(tree: SurfaceTree, rows: Tensor, surface: TetSurface, lowest: float) -> Tensor:
    """Those of the vertices `rows` from which every direction meets the surface. Most are free in one of the first directions."""
    for direction in _directions(lowest, surface.sdf.device):
        if len(rows) == 0:
            break
        points = surface.lattice.positions(rows)
        distances, _ = tree.first_hit(points, direction.expand_as(points), _FAR)
        rows = rows[distances.isfinite()]
    return rows


def _directions(lowest: float, device: torch.device) -> Tensor:
    """[D, 3] unit directions towards cameras, round by round, each turned by half a step against the one before."""
    elevation = torch.deg2rad(torch.linspace(lowest, 90.0, _ELEVATIONS + 1, device=device)[:-1]).repeat_interleave(_AZIMUTHS)
    rounds, steps = (torch.arange(count, device=device) for count in (_ELEVATIONS, _AZIMUTHS))
    turn = rounds.repeat_interleave(_AZIMUTHS) / 2 + steps.repeat(_ELEVATIONS)
    azimuth = turn * (2 * math.pi / _AZIMUTHS)
    around = torch.stack((elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()), dim=1)
    return torch.cat([around, around.new_tensor([[0.0, 1.0, 0.0]])])
