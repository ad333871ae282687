"""Smooth the colours of a surface where they only fluctuate, and leave edges, stripes and spots.

A diffusion model says nothing about fluctuations below its resolution, so a fitted field keeps there what it began with: speckle, and the
lines of its hash grid. They are told from what the prompt asked for by their contrast, which is low.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.kernels.smooth import occupied_cells, sample_cells, smooth_cells

_RESOLUTION = 160  # cells along the longest side
_RADIUS, _SPREAD, _PASSES = 3, 2.5, 3  # of the filter, in cells
_CONTRAST = 0.09  # of sRGB, at strength 1: colours that differ by more hardly mix
_INVISIBLE = 1e-4  # of sRGB: no map of 8 bits shows a change so small
_LEAST = 0.03  # share of the cells round a point that have to be like it


@torch.no_grad()
def smooth_colors(colors: Tensor, points: Tensor, strength: float) -> Tensor:
    """Colours [N, 3] (sRGB) at points [N, 3] of a surface, without fluctuations of less contrast than `strength` in [0, 1] allows.

    The colours are averaged in the cells of a grid in space, in which seams between charts do not show. A bilateral filter smooths the
    cells, guided by slightly blurred colours, so that noise is no edge. Each point then takes the mean of the cells round it that are
    like itself, and keeps its colour where there are none: what is small or sharp stays as it was. All do where the
    contrast is too small to be seen.
    """
    contrast = _CONTRAST * strength
    if contrast < _INVISIBLE or len(points) == 0:
        return colors
    cells = occupied_cells(points, _RESOLUTION)
    values = cells.means(colors)
    for _ in range(_PASSES):
        guide = smooth_cells(cells, values, values, 1, 0.7, 1e3)
        values = smooth_cells(cells, values, guide, _RADIUS, _SPREAD, contrast)
    return sample_cells(cells, colors, values, contrast, _LEAST)
