"""A painted ball: stripes, spots and the edge between two parts, and the fluctuations that a fitted field adds to them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

RED, WHITE, BROWN, DARK = (torch.tensor(color) for color in ((0.8, 0.12, 0.1), (0.9, 0.9, 0.88), (0.55, 0.36, 0.2), (0.4, 0.24, 0.12)))


def ball_points(count: int, radius: float = 0.8) -> Tensor:
    """[N, 3] points spread evenly over a ball's surface, by a Fibonacci lattice."""
    rank = torch.arange(count, dtype=torch.float64)
    height, turn = 1 - (2 * rank + 1) / count, rank * math.pi * (3 - math.sqrt(5))
    ring = (1 - height.square()).sqrt()
    return (radius * torch.stack([ring * turn.cos(), height, ring * turn.sin()], dim=1)).float()


def painted(points: Tensor) -> Tensor:
    """[N, 3] sRGB: above the equator red with white spots, 0.1 across; below it wood, brown with dark stripes, 0.06 wide."""
    spots = torch.nn.functional.normalize(ball_points(40, 1.0), dim=1)
    spotted = (points @ spots.T).amax(dim=1) / points.norm(dim=1) > math.cos(0.05 / 0.8)
    striped = torch.remainder(points[:, 1], 0.12) < 0.06
    upper = torch.where(spotted[:, None], WHITE, RED)
    lower = torch.where(striped[:, None], DARK, BROWN)
    return torch.where(points[:, 1:2] > 0, upper, lower)


def fluctuations(points: Tensor, seed: int = 0) -> Tensor:
    """[N, 3] what a hash grid of 96 cells leaves: speckle, a random value a vertex with a deviation of 0.05, and lines along its cells."""
    cells, size = 96, 2 / 96
    values = 0.05 * torch.randn(cells + 1, cells + 1, cells + 1, 3, generator=torch.Generator().manual_seed(seed))
    placed = (points + 1) / size
    corner = placed.floor().long().clamp(0, cells - 1)
    share = placed - corner
    total = torch.zeros_like(points)
    for i in (0, 1):
        for j in (0, 1):
            for k in (0, 1):
                step = torch.tensor([i, j, k])
                weight = (step * share + (1 - step) * (1 - share)).prod(dim=1, keepdim=True)
                x, y, z = (corner + step).unbind(1)
                total += weight * values[x, y, z]
    return total + 0.02 * torch.sin(placed[:, 1:2] * math.pi)
