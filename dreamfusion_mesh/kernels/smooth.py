"""Edge-preserving smoothing of values on a surface, over the occupied cells of a grid in space, on CPU and CUDA."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels import smooth_warp
from dreamfusion_mesh.kernels.launch import as_warp, launch

_BORDER = 4  # empty cells round the occupied ones, so that no neighbour lies outside; the widest radius


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a cubic grid that points lie in.

    volume  [X, Y, Z] int32, the number of each occupied cell, -1 for the others
    places  [N, 3] int32, where each occupied cell lies in it
    points  [P, 3] float32, the points in units of a cell, in the volume
    owners  [P] int64, the cell of each point
    counts  [N] float32, points in each cell
    """

    volume: Tensor
    places: Tensor
    points: Tensor
    owners: Tensor
    counts: Tensor

    def means(self, values: Tensor) -> Tensor:
        """[N, C] the mean in each cell of values [P, C] of the points."""
        total = torch.zeros(len(self.counts), values.shape[1], device=values.device).index_add(0, self.owners, values)
        return total / self.counts[:, None]


def occupied_cells(points: Tensor, resolution: int) -> Cells:
    """The cells of points [P, 3], `resolution` of them along the longest side of the points' box. Raises ValueError where it is below 1."""
    if resolution < 1:
        raise ValueError(f"resolution {resolution}: expected 1 or more")
    low, high = points.amin(dim=0), points.amax(dim=0)
    size = float((high - low).max()) / resolution or 1.0
    placed = ((points - low) / size + _BORDER).float()
    number = placed.floor().long()
    x, y, z = (int(side) + _BORDER + 1 for side in number.amax(dim=0))
    counts = ((number[:, 0] * y + number[:, 1]) * z + number[:, 2]).bincount(minlength=x * y * z)
    occupied = counts.nonzero()[:, 0]
    volume = torch.full((x * y * z,), -1, dtype=torch.int32, device=points.device)
    volume[occupied] = torch.arange(len(occupied), dtype=torch.int32, device=points.device)
    places = torch.stack([occupied // (y * z), occupied // z % y, occupied % z], dim=1).int()
    owners = volume[(number[:, 0] * y + number[:, 1]) * z + number[:, 2]].long()
    return Cells(volume.view(x, y, z), places, placed.contiguous(), owners, counts[occupied].float())


def smooth_cells(cells: Cells, values: Tensor, guide: Tensor, radius: int, spread: float, contrast: float) -> Tensor:
    """[N, 3] the mean of the values [N, 3] of the cells within `radius` (at most 4) of each, along each axis: a bilateral filter.

    The weights are Gaussians of the distance, with a deviation of `spread` cells, and of the difference between guides [N, 3], with one of
    `contrast`; and a cell counts less where it holds less than the average number of points. Source: Tomasi and Manduchi 1998.
    Raises ValueError where the radius is out of range.
    """
    if not 0 <= radius <= _BORDER:
        raise ValueError(f"radius {radius}: expected 0 to {_BORDER}")
    smoothed = torch.empty_like(values)
    mass = (cells.counts / cells.counts.mean()).clamp_max(1)
    shapes = [as_warp(cells.volume, wp.int32), as_warp(cells.places.contiguous(), wp.vec3i)]
    inputs = [as_warp(part.contiguous(), wp.vec3) for part in (values, guide)]
    bounds = [radius, 0.5 / spread**2, 0.5 / contrast**2]
    arguments = [*shapes, *inputs, as_warp(mass, wp.float32), *bounds, as_warp(smoothed, wp.vec3)]
    launch(smooth_warp.smooth_cells, len(values), arguments, values.device)
    return smoothed


def sample_cells(cells: Cells, own: Tensor, values: Tensor, contrast: float, least: float) -> Tensor:
    """[P, 3] for each point the mean of the values [N, 3] of the eight cells round it that are like its `own` [P, 3], else that itself.

    A cell weighs as it does in trilinear interpolation, times a Gaussian, with a deviation of `contrast`, of its difference to the own
    value. The own value has the weight that the cells would have if they were alike, times `least`. Source: joint bilateral upsampling,
    Kopf et al. 2007.
    """
    sampled = torch.empty_like(own)
    inputs = [as_warp(cells.points, wp.vec3), *(as_warp(part.contiguous(), wp.vec3) for part in (own, values))]
    arguments = [as_warp(cells.volume, wp.int32), *inputs, 0.5 / contrast**2, least, as_warp(sampled, wp.vec3)]
    launch(smooth_warp.sample_cells, len(own), arguments, own.device)
    return sampled
