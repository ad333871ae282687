"""Surfaces cut from a tetrahedral grid as the pipeline's are, that tidying and decimation are tried on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.tets.marching import marching_tets


def ball_sdf(points: Tensor, x: float, radius: float) -> Tensor:
    return (points - torch.tensor([x, 0.0, 0.0])).norm(dim=1) - radius


def torus_sdf(points: Tensor) -> Tensor:
    x, y, z = points.unbind(1)
    return (((x * x + z * z).sqrt() - 0.6) ** 2 + y * y).sqrt() - 0.22


def two_balls_sdf(points: Tensor) -> Tensor:
    return torch.minimum(ball_sdf(points, 0.5, 0.4), ball_sdf(points, -0.5, 0.3))


def table_sdf(points: Tensor) -> Tensor:
    """Four legs two and a half cells thick at 40 cells."""
    x, y, z = points.abs().unbind(1)
    top = torch.stack([x - 0.8, z - 0.8, (points[:, 1] - 0.5).abs() - 0.08]).amax(dim=0)
    leg = torch.stack([(x - 0.6).abs() - 0.06, (z - 0.6).abs() - 0.06, y - 0.5]).amax(dim=0)
    return torch.minimum(top, leg)


def surface_of(grid: TetGrid, shape: Callable[[Tensor], Tensor], noise: float = 0.0, seed: int = 0) -> Mesh:
    draws = torch.Generator().manual_seed(seed)
    return marching_tets(grid.vertices, shape(grid.vertices) + noise * torch.randn(len(grid.vertices), generator=draws), grid)


def volume(mesh: Mesh) -> float:
    return float(signed_volume(mesh.vertices.double(), mesh.faces))
