"""Noise that lies on the surface: two cameras that see one place see the same noise there (Yan et al., arXiv:2501.05445, section 4.2).

A table of normal numbers, one row for each voxel by a hash, then one row for each pixel of the background, which stays in the picture. A
pixel's noise is the sum of the rows that its points name over the root of the sum of their squared counts: of unit variance, however many
points share a row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dreamfusion_mesh.guidance.schedule import draw_noise
from dreamfusion_mesh.records import SurfacePoints

_HASHED_LOG2 = 17
HASHED = 2**_HASHED_LOG2  # rows of voxels; of 96^3 voxels a ball's surface has about 30,000, and few of them share a row
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 2^64 over the golden ratio, as int64: Knuth, The Art of Computer Programming, section 6.4


def voxel_rows(points: Tensor, voxels: int) -> Tensor:
    """Rows [...] int64 of points [..., 3] in scene units, of cubes of which `voxels` lie along a side of the scene's box."""
    x, y, z = ((points + 1) * (voxels / 2)).floor().long().unbind(-1)
    number = (x * voxels + y) * voxels + z
    return (number * _GOLDEN >> (64 - _HASHED_LOG2)) & (HASHED - 1)


def pixel_rows(seen: SurfacePoints, side: int, voxels: int) -> Tensor:
    """The rows [B, side, side, N] of each pixel's N points; a ray that misses the surface names the pixel's row of the background.

    Raises ValueError unless the grid of points divides evenly among the pixels.
    """
    count, width = seen.hit.shape[0], seen.hit.shape[1]
    if width % side or seen.hit.shape[2] != width:
        raise ValueError(f"points: {width} x {seen.hit.shape[2]}, expected a square of a multiple of {side}")
    background = HASHED + torch.arange(side * side, device=seen.hit.device).reshape(1, side, 1, side, 1)
    blocks = (count, side, width // side, side, width // side)
    rows = torch.where(seen.hit.reshape(blocks), voxel_rows(seen.points, voxels).reshape(blocks), background)
    return rows.permute(0, 1, 3, 2, 4).flatten(3)


def pixel_noise(table: Tensor, rows: Tensor) -> Tensor:
    """[B, C, S, S]: sum of c_v W_v / sqrt(sum of c_v^2), where a pixel's `rows` [B, S, S, N] name v c_v times; W is the table [R, C]."""
    squares = (rows[..., :, None] == rows[..., None, :]).sum(dim=(3, 4))  # pairs of equal rows are c_v^2 for each v
    return (table[rows].sum(dim=3) / squares.to(table.dtype).sqrt()[..., None]).permute(0, 3, 1, 2)


def evolve(table: Tensor, gamma: float, draws: torch.Generator) -> None:
    """W <- sqrt(1 - gamma) W + sqrt(gamma) xi in place, xi standard normal from `draws` on the CPU; 1 is fresh noise."""
    table.mul_(math.sqrt(1 - gamma)).add_(draw_noise(table.shape, draws).to(table), alpha=math.sqrt(gamma))
