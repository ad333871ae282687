"""Scores in closed form: Gaussian data, and a mixture of two modes of which the words name one. All in double precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from guided import column
from torch import Tensor

from dreamfusion_mesh.guidance.schedule import variance_preserving

# As the embedded model's: a thousand times, hardly any noise at the first and hardly any signal at the last.
SCHEDULE = variance_preserving(torch.cos(torch.linspace(0.01, 1.56, 1000, dtype=torch.float64)).square())


@dataclass(frozen=True)
class Gaussian:
    """Clean data N(mean, spread^2), each value by itself."""

    mean: float
    spread: float

    def eps(self, noisy: Tensor, t: Tensor) -> Tensor:
        """E[eps | x_t], affine in x_t."""
        signal, noise = (column(values[t]) for values in (SCHEDULE.signal, SCHEDULE.noise))
        return noise * (noisy - signal * self.mean) / (signal**2 * self.spread**2 + noise**2)

    def density(self, noisy: Tensor, t: Tensor) -> Tensor:
        """Of each value of x_t, without the constant that all share."""
        signal, noise = (column(values[t]) for values in (SCHEDULE.signal, SCHEDULE.noise))
        variance = signal**2 * self.spread**2 + noise**2
        return torch.exp(-((noisy - signal * self.mean) ** 2) / (2 * variance)) / variance.sqrt()

    def along_the_flow(self, latents: Tensor, begin: int, t: Tensor) -> Tensor:
        """Where the probability flow leads from signal x at `begin` to t [B]: the distance from the mean grows as the deviation does."""
        start = torch.full_like(t, begin)
        signals, deviations = [], []
        for time in (start, t):
            signal, noise = (column(values[time]) for values in (SCHEDULE.signal, SCHEDULE.noise))
            signals.append(signal)
            deviations.append((signal**2 * self.spread**2 + noise**2).sqrt())
        return signals[1] * self.mean + (signals[0] * latents - signals[0] * self.mean) * deviations[1] / deviations[0]


@dataclass(frozen=True)
class Mixture:
    """Clean data of one mode or another, as often each."""

    first: Gaussian
    second: Gaussian

    def eps(self, noisy: Tensor, t: Tensor) -> Tensor:
        """E[eps | x_t]: the modes' own, by how likely each is."""
        shares = self.first.density(noisy, t), self.second.density(noisy, t)
        total = (shares[0] + shares[1]).clamp_min(1e-300)
        return (shares[0] * self.first.eps(noisy, t) + shares[1] * self.second.eps(noisy, t)) / total
