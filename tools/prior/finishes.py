"""Materials and patterns as functions of a surface point: what a colour becomes where it is wooden, metal, stone, striped ..."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tools.prior.captions import FINISHES


def apply(colour: Tensor, points: Tensor, normals: Tensor, finish: Tensor, seeds: Tensor) -> Tensor:
    """Colours [N, 3] with their finish; points and unit normals [N, 3]; finish [N] row of FINISHES or -1; seeds [N], a scene's alike."""
    made = colour.clone()
    for row, name in enumerate(FINISHES):
        at = (finish == row).nonzero()[:, 0]
        if len(at):
            made[at] = _MAKE[name](colour[at], points[at], normals[at], seeds[at])
    return made.clamp(0, 1)


def _chance(seeds: Tensor, salt: int) -> Tensor:
    """[N] in [0, 1), the same wherever seed and salt are."""
    return _scatter(torch.stack((seeds.double() % 65521, torch.full_like(seeds, salt, dtype=torch.float64)), -1))[..., 0].to(torch.float32)


def _scatter(cells: Tensor) -> Tensor:
    """Three numbers in [0, 1) for each row of whole numbers [..., K]; the usual fraction of a large sine, in double precision."""
    weights = torch.tensor([127.1, 311.7, 74.7, 269.5], dtype=torch.float64, device=cells.device)[: cells.shape[-1]]
    base = (cells.double() * weights).sum(-1)
    return torch.stack([torch.frac(torch.sin(base + 17.31 * k) * 43758.5453).abs() for k in range(3)], -1)


def _wobble(points: Tensor, seeds: Tensor) -> Tensor:
    """[N] about -1 .. 1, slow waves."""
    phase = 6.28 * _chance(seeds, 1)
    return (torch.sin(5.1 * points[:, 0] + 3.3 * points[:, 1] + phase) + torch.sin(4.3 * points[:, 2] - 3.9 * points[:, 1] + 2 * phase)) / 2


def _cells(points: Tensor, seeds: Tensor, size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Distances [N] to the nearest and second nearest of scattered centres, in cells, and a number of the nearest in [0, 1).

    Source: Worley 1996, "A cellular texture basis function".
    """
    p = points.double() / size
    home = torch.floor(p)
    steps = torch.tensor([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=torch.float64, device=p.device)
    cells = home[:, None] + steps
    salted = torch.cat((cells, (seeds.double() % 1009)[:, None, None].expand(-1, 27, 1)), -1)
    shift = _scatter(salted)
    gap = (cells + shift - p[:, None]).norm(dim=-1)
    near, which = gap.topk(2, dim=1, largest=False)
    tone = shift.gather(1, which[:, :1, None].expand(-1, 1, 3))[:, 0].sum(-1).frac()
    return near[:, 0].to(points.dtype), near[:, 1].to(points.dtype), tone.to(points.dtype)


def _second(colour: Tensor) -> Tensor:
    """What stands out from a colour: white on dark, dark of the same hue on light."""
    light = colour @ torch.tensor([0.3, 0.59, 0.11], device=colour.device)
    return torch.where((light > 0.6)[:, None], colour * 0.35, torch.tensor(0.94, device=colour.device))


def _wooden(colour: Tensor, points: Tensor, normals: Tensor, seeds: Tensor) -> Tensor:
    along = torch.where((_chance(seeds, 2) < 0.6)[:, None], points[:, [0, 2, 1]], points[:, [1, 2, 0]])
    bent = along[:, :2] + 0.09 * _wobble(points, seeds)[:, None] + 0.35
    rings = torch.sin(bent.norm(dim=1) * 36 + 2 * along[:, 2])
    return colour * (0.84 + 0.2 * rings)[:, None]


def _metal(colour: Tensor, points: Tensor, normals: Tensor, seeds: Tensor) -> Tensor:
    height = normals[:, 1] + 0.35 * normals[:, 0] + 0.25 * points[:, 1]
    shade = 0.78 + 0.24 * torch.sin(5.5 * height + 6.28 * _chance(seeds, 3))
    shine = torch.exp(-(((height - 0.55) / 0.12) ** 2))[:, None]
    grey = colour.mean(dim=1, keepdim=True)
    return (colour + 0.15 * (grey - colour)) * shade[:, None] * (1 - 0.7 * shine) + 0.7 * shine * 0.97


def _stone(colour: Tensor, points: Tensor, normals: Tensor, seeds: Tensor) -> Tensor:
    near, second, tone = _cells(points, seeds, 0.26)
    shade = torch.where(second - near < 0.1, 0.45, 0.78 + 0.3 * tone)
    return colour * shade[:, None]


def _striped(colour: Tensor, points: Tensor, normals: Tensor, seeds: Tensor) -> Tensor:
    way = _chance(seeds, 4)
    angle = torch.where(way < 0.5, 0.0, torch.where(way < 0.75, math.pi / 2, math.pi / 4))
    along = points[:, 1] * torch.cos(angle) + points[:, 0] * torch.sin(angle)
    period = 0.24 + 0.1 * _chance(seeds, 5)
    other = torch.remainder(along / period + _chance(seeds, 6), 1) < 0.4
    return torch.where(other[:, None], _second(colour), colour)


def _spotted(colour: Tensor, points: Tensor, normals: Tensor, seeds: Tensor) -> Tensor:
    size = 0.36
    near, _, _ = _cells(points, seeds, size)
    return torch.where((near < 0.36)[:, None], _second(colour), colour)


def _checkered(colour: Tensor, points: Tensor, normals: Tensor, seeds: Tensor) -> Tensor:
    size = 0.2 + 0.05 * _chance(seeds, 7)[:, None]
    odd = torch.floor(points / size + _chance(seeds, 8)[:, None] + 0.37).sum(dim=1) % 2 > 0.5
    return torch.where(odd[:, None], colour * 0.55 + 0.45 * _second(colour), colour)


_MAKE = {
    "wooden": _wooden,
    "metal": _metal,
    "stone": _stone,
    "striped": _striped,
    "spotted": _spotted,
    "checkered": _checkered,
}
assert list(_MAKE) == list(FINISHES)
