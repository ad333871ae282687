"""Times and noise: which times are drawn, what is added to the latents, and how each time is weighted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dreamfusion_mesh.config import Span
from dreamfusion_mesh.records.diffusion import Schedule

Weighting = Literal["one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform"]
TimeSchedule = Literal["fixed", "linear", "sqrt", "dreamtime", "deterministic"]


def variance_preserving(alpha_bar: Tensor) -> Schedule:
    """The schedule whose share of signal variance at each time is alpha_bar [T]: signal**2 + noise**2 = 1."""
    return Schedule(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


def flow_matching(noise: Tensor) -> Schedule:
    """The schedule of a flow from images to noise whose own time is `noise` [T] in (0, 1]: signal + noise = 1."""
    return Schedule(1 - noise, noise)


def add_noise(latents: Tensor, noise: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
    """x_t = signal x + noise eps of latents [B, ...] and noise [B, ...] at t [B] int64."""
    signal, sigma = schedule.at(t, latents)
    return signal * latents + sigma * noise


def weight(schedule: Schedule, t: Tensor, kind: Weighting) -> Tensor:
    """w(t) [B] at t [B] int64. Of a flow the noise is its own time s, and eps_hat - eps is (1 - s) (v_hat - v).

    one_minus_alpha_bar: the variance of the noise, DreamFusion's choice. sqrt_one_minus_alpha_bar: the gradient becomes
    signal (x - x0_hat), a pull towards the clean image that stays bounded at all times. uniform: 1.
    """
    sigma = schedule.noise[t]
    match kind:
        case "one_minus_alpha_bar":
            return sigma.square()
        case "sqrt_one_minus_alpha_bar":
            return sigma
        case "uniform":
            return torch.ones_like(sigma)
    raise ValueError(f"weighting {kind!r}: expected one_minus_alpha_bar, sqrt_one_minus_alpha_bar or uniform")


def timestep_range(kind: TimeSchedule, progress: float, t_min: Span, t_max: Span, count: int) -> tuple[int, int]:
    """Lowest and highest time to draw, both included, of `count`; alike where the schedule is deterministic.

    fixed          from the first of t_min to the first of t_max, as in DreamFusion (arXiv:2209.14988, section 3)
    linear         each end goes linearly from its first to its last value; ProlificDreamer (arXiv:2305.16213, section 4.1) lowers t_max
    deterministic  t_max alone, linearly: CFD (arXiv:2501.05445) and SDI (arXiv:2405.15891)
    sqrt           t_max alone, by the square root of the progress: HiFA (arXiv:2305.18766, section 3.3)
    dreamtime      t_max alone, where each time's share of the steps is its weight in DreamTime (arXiv:2306.12422, section 4)
    Raises ValueError unless progress is in [0, 1].
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress {progress}: expected 0 (first step) to 1 (last step)")
    match kind:
        case "fixed":
            ends = t_min[0], t_max[0]
        case "linear":
            ends = _between(t_min, progress), _between(t_max, progress)
        case "deterministic":
            ends = (_between(t_max, progress),) * 2
        case "sqrt":
            ends = (_between(t_max, math.sqrt(progress)),) * 2
        case "dreamtime":
            ends = (_between(t_max, _dreamtime_share(progress, t_max)),) * 2
        case _:
            raise ValueError(f"t_schedule {kind!r}: expected fixed, linear, sqrt, dreamtime or deterministic")
    low, high = (min(round(end * count), count - 1) for end in ends)
    return low, max(low, high)


def draw_timesteps(low: int, high: int, batch: int, draws: torch.Generator, together: int = 1) -> Tensor:
    """[batch] int64 on the CPU, uniform over low..high, both included; the same for each `together` in a row.

    Raises ValueError unless `batch` is a multiple of `together`.
    """
    if batch % together:
        raise ValueError(f"batch: {batch} images, expected a multiple of the {together} that are seen together")
    return torch.randint(low, high + 1, (batch // together,), generator=draws).repeat_interleave(together)


def _between(span: Span, share: float) -> float:
    return span[0] + (span[1] - span[0]) * share


def _dreamtime_share(progress: float, t_max: Span) -> float:
    """How far along t_max, from 0 to 1, the time is before which `progress` of the weights' sum lies."""
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    t = t_max[0] + (t_max[1] - t_max[0]) * grid
    above, below = (t - 0.8).clamp_min(0) / 0.3, (0.5 - t).clamp_min(0) / 0.1  # m1, s1, m2 and s2 of the paper, in shares of all times
    weights = torch.exp(-(above.square() + below.square()) / 2)
    spent = torch.cat([weights.new_zeros(1), (weights[1:] + weights[:-1]).cumsum(0)])
    place = int(torch.searchsorted(spent, progress * spent[-1]).clamp(1, len(grid) - 1))
    part = (progress * spent[-1] - spent[place - 1]) / (spent[place] - spent[place - 1])
    return float(torch.lerp(grid[place - 1], grid[place], part))


def draw_noise(shape: Sequence[int], draws: torch.Generator) -> Tensor:
    """`shape` float32 on the CPU, standard normal."""
    return torch.randn(shape, generator=draws)
