"""From an image to the noise that a model sees in it: DDIM's sampling steps run backwards (arXiv:2010.02502, eq. 12 and 13)."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.records.diffusion import Schedule

LEAST_NOISE = 0.05  # eps of a model that predicts the clean image is (x_t - signal x0_hat) / noise, which has no limit at noise 0


def first_time(schedule: Schedule) -> int:
    """The first time whose noise is at least LEAST_NOISE, the last one where none is: where inversion begins."""
    return min(int((schedule.noise < LEAST_NOISE).sum()), len(schedule) - 1)


def last_time(schedule: Schedule) -> int:
    """The last time that has signal, up to which noise / signal is finite: that of a flow's pure noise has none."""
    return int(schedule.signal.nonzero().max())


def ddim_step(noisy: Tensor, eps: Tensor, schedule: Schedule, now: Tensor, then: Tensor) -> Tensor:
    """x at `then` [B] int64 from x = `noisy` [B, ...] at `now` [B] int64 with the prediction eps [B, ...]; the same x where both agree.

    The clean image that eps means stays, so towards more noise this inverts the sampler's step. Source: arXiv:2010.02502, eq. 13.
    """
    (signal, noise), (signal_then, noise_then) = schedule.at(now, noisy), schedule.at(then, noisy)
    moved = signal_then * (noisy - noise * eps) / signal + noise_then * eps
    return torch.where(_column(now == then, noisy), noisy, moved)


def ddim_deviation(like: Tensor, schedule: Schedule, now: Tensor, then: Tensor) -> Tensor:
    """[B, 1, ...]: the standard deviation of DDIM's stochastic step between `now` and the noisier `then`, [B] int64; 0 where both agree.

    That of q(x_now | x_then, x_0), whether or not the schedule preserves variance. Source: arXiv:2010.02502, eq. 16 with eta 1.
    """
    (signal, noise), (signal_then, noise_then) = schedule.at(now, like), schedule.at(then, like)
    return noise / noise_then * (noise_then.square() - (signal_then / signal * noise).square()).clamp_min(0).sqrt()


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (like.dim() - 1))
