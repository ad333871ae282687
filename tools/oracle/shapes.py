"""Twelve known objects as signed distances with colours, each hard in its own way; all lie within REACH of the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REACH = 0.95  # scene units
_CHECK, _OFFSET = 0.25, 0.13  # scene units: eight pixels of the model, and no side lies where its colours meet
RED, BLUE, GREEN, YELLOW, WHITE = (
    torch.tensor(c) for c in ((0.85, 0.12, 0.1), (0.12, 0.3, 0.85), (0.15, 0.65, 0.2), (0.95, 0.82, 0.15), (0.9, 0.9, 0.88))
)

Triple = tuple[float, float, float]
Solid = Callable[[Tensor], Tensor]  # [N, 3] points -> [N] signed distance, negative inside; its slope is at most 1


@dataclass(frozen=True)
class Shape:
    """A solid, and its display-referred colour: [N, 3] points -> [N, 3]."""

    name: str
    sdf: Solid
    color: Callable[[Tensor], Tensor]


def ball(p: Tensor, center: Triple, radius: float) -> Tensor:
    return (p - p.new_tensor(center)).norm(dim=-1) - radius


def box(p: Tensor, center: Triple, half: Triple) -> Tensor:
    q = (p - p.new_tensor(center)).abs() - p.new_tensor(half)
    return q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0)


def cylinder(p: Tensor, center: Triple, radius: float, half: float) -> Tensor:
    """Upright."""
    at = p - p.new_tensor(center)
    q = torch.stack([at[..., [0, 2]].norm(dim=-1) - radius, at[..., 1].abs() - half], -1)
    return q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0)


def capsule(p: Tensor, start: Triple, end: Triple, radius: float) -> Tensor:
    a, along = p - p.new_tensor(start), p.new_tensor(end) - p.new_tensor(start)
    share = ((a @ along) / (along @ along)).clamp(0, 1)
    return (a - share[..., None] * along).norm(dim=-1) - radius


def torus(p: Tensor, center: Triple, ring: float, tube: float) -> Tensor:
    """Its hole looks at the front."""
    at = p - p.new_tensor(center)
    return torch.stack([at[..., :2].norm(dim=-1) - ring, at[..., 2]], -1).norm(dim=-1) - tube


def union(*parts: Tensor) -> Tensor:
    return torch.stack(parts).amin(0)


def without(solid: Tensor, *holes: Tensor) -> Tensor:
    return torch.stack([solid, *(-hole for hole in holes)]).amax(0)


def blended(a: Tensor, b: Tensor, width: float) -> Tensor:
    """Union with a fillet."""
    near = (width - (a - b).abs()).clamp_min(0) / width
    return torch.minimum(a, b) - near.square() * (width / 4)


def _table(p: Tensor) -> Tensor:
    legs = [box(p, (x * 0.48, -0.12, z * 0.33), (0.08, 0.4, 0.08)) for x in (-1, 1) for z in (-1, 1)]
    return union(box(p, (0, 0.3, 0), (0.6, 0.09, 0.45)), *legs)


def _cup(p: Tensor) -> Tensor:
    """Views from 50 degrees above see its floor."""
    body = without(cylinder(p, (0, 0, 0), 0.45, 0.5), cylinder(p, (0, 0.5, 0), 0.33, 0.45))
    handle = torch.maximum(torus(p, (0.45, 0, 0), 0.27, 0.07), 0.39 - p[..., 0])
    return union(body, handle)


def _bowl(p: Tensor) -> Tensor:
    shell = without(ball(p, (0, 0.25, 0), 0.7), ball(p, (0, 0.25, 0), 0.58))
    return union(torch.maximum(shell, p[..., 1] - 0.25), cylinder(p, (0, -0.47, 0), 0.28, 0.08))


def _shelf(p: Tensor) -> Tensor:
    """A block with two windows through it."""
    windows = [box(p, (0, y, 0), (0.32, 0.2, 1.0)) for y in (-0.28, 0.28)]
    return without(box(p, (0, 0, 0), (0.45, 0.6, 0.25)), *windows)


def _stool(p: Tensor) -> Tensor:
    legs = [capsule(p, (0.2 * x, 0.35, 0.2 * z), (0.45 * x, -0.55, 0.45 * z), 0.055) for x, z in ((1, 0.6), (-1, 0.6), (0, -1.1))]
    return union(cylinder(p, (0, 0.4, 0), 0.45, 0.07), *legs)


def _cone(p: Tensor) -> Tensor:
    """Tip up, on a square foot."""
    slope = torch.stack([p[..., [0, 2]].norm(dim=-1), p[..., 1] - 0.65], -1) @ p.new_tensor([0.9, 0.436])
    return union(torch.maximum(slope, -p[..., 1] - 0.45), box(p, (0, -0.5, 0), (0.5, 0.1, 0.5)))


def _turned_box(p: Tensor) -> Tensor:
    turn = p.new_tensor([[0.866, 0, 0.5], [0, 1, 0], [-0.5, 0, 0.866]])
    return box(p @ turn, (0, 0, 0), (0.5, 0.4, 0.35))


def _pair_parts(p: Tensor) -> tuple[Tensor, Tensor]:
    return ball(p, (0, -0.22, 0), 0.45), ball(p, (0, 0.35, 0.1), 0.3)


def _plain(color: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda p: color.to(p).expand(len(p), 3)


def _where(first: Callable[[Tensor], Tensor], color: Tensor, other: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda p: torch.where(first(p)[:, None], color.to(p), other.to(p))


def _checks(color: Tensor, other: Tensor) -> Callable[[Tensor], Tensor]:
    """Cubes of two colours. One colour tells nothing of where a flat side lies, or whether a cavity is hollow or a painted lid."""

    def color_of(p: Tensor) -> Tensor:
        even = ((p + _OFFSET) / _CHECK).floor().sum(1).remainder(2) == 0
        return torch.where(even[:, None], color.to(p), other.to(p))

    return color_of


def _upper_ball(p: Tensor) -> Tensor:
    lower, upper = _pair_parts(p)
    return upper < lower


SHAPES: Sequence[Shape] = (
    Shape("ball", lambda p: ball(p, (0, 0, 0), 0.62), _plain(RED)),
    Shape("pair", lambda p: union(*_pair_parts(p)), _where(_upper_ball, BLUE, YELLOW)),
    Shape("pebble", lambda p: blended(ball(p, (-0.25, 0, 0), 0.42), ball(p, (0.35, 0.1, 0.05), 0.3), 0.4), _plain(WHITE)),
    Shape("ring", lambda p: torus(p, (0, 0, 0), 0.48, 0.2), _plain(GREEN)),
    Shape("table", _table, _checks(RED, WHITE)),
    Shape("stool", _stool, _checks(BLUE, YELLOW)),
    Shape("cup", _cup, _checks(WHITE, BLUE)),
    Shape("bowl", _bowl, _checks(RED, GREEN)),
    Shape("box", _turned_box, _checks(RED, BLUE)),
    Shape("cone", _cone, _checks(GREEN, RED)),
    Shape("shelf", _shelf, _checks(YELLOW, BLUE)),
    Shape("sheet", lambda p: box(p, (0, 0, 0), (0.6, 0.45, 0.035)), _checks(RED, WHITE)),
)

BY_NAME = {shape.name: shape for shape in SHAPES}
