"""Times and noise: which times are drawn, what is added to the latents, and how each time is weighted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dreamfusion_mesh.config import Span
from dreamfusion_mesh.records.diffusion import Schedule

Weighting = Literal["one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform"]


def variance_preserving(alpha_bar: Tensor) -> Schedule:
    """The schedule whose share of signal variance at each time is alpha_bar [T]: signal**2 + noise**2 = 1."""
    return Schedule(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


def add_noise(latents: Tensor, noise: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
    """x_t = signal x + noise eps of latents [B, ...] and noise [B, ...] at t [B] int64."""
    signal, sigma = schedule.at(t, latents)
    return signal * latents + sigma * noise


def weight(schedule: Schedule, t: Tensor, kind: Weighting) -> Tensor:
    """w(t) [B] at t [B] int64.

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


def timestep_range(progress: float, t_min: Span, t_max: Span, count: int) -> tuple[int, int]:
    """Lowest and highest time to draw, both included, of `count`; the spans go linearly from their first to their last value.

    Raises ValueError unless progress is in [0, 1].
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress {progress}: expected 0 (first step) to 1 (last step)")
    low, high = (min(round((span[0] + (span[1] - span[0]) * progress) * count), count - 1) for span in (t_min, t_max))
    return low, max(low, high)


def draw_timesteps(low: int, high: int, batch: int, draws: torch.Generator, together: int = 1) -> Tensor:
    """[batch] int64 on the CPU, uniform over low..high, both included; the same for each `together` in a row.

    Raises ValueError unless `batch` is a multiple of `together`.
    """
    if batch % together:
        raise ValueError(f"batch: {batch} images, expected a multiple of the {together} that are seen together")
    return torch.randint(low, high + 1, (batch // together,), generator=draws).repeat_interleave(together)


def draw_noise(shape: Sequence[int], draws: torch.Generator) -> Tensor:
    """`shape` float32 on the CPU, standard normal."""
    return torch.randn(shape, generator=draws)
