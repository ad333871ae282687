"""Images drawn from a diffusion model by DDIM (Song et al., arXiv:2010.02502), its deterministic form (eta 0)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dreamfusion_mesh.records.diffusion import Schedule


def sampling_times(count: int, steps: int, strength: float = 1.0) -> list[int]:
    """`steps` times of a schedule of `count`, evenly from the share `strength` of it down to the first; 1 is its last time."""
    return [round((count - 1) * strength * (1 - step / max(1, steps - 1))) for step in range(steps)]


def denoise(noisy: Tensor, clean: Tensor, schedule: Schedule, now: int, then: int | None) -> Tensor:
    """x at the time `then` from x = `noisy` [B, ...] at `now` and the clean image [B, ...] that is seen in it; None: that image.

    The noise that `clean` means stays. It is found by dividing by the noise at `now` and never by the signal, which may be 0 at the last
    time. Source: arXiv:2010.02502, eq. 12 with sigma 0.
    """
    if then is None:
        return clean
    noise = (noisy - schedule.signal[now] * clean) / schedule.noise[now]
    return schedule.signal[then] * clean + schedule.noise[then] * noise


def sample(noise: Tensor, clean: Callable[[Tensor, int], Tensor], schedule: Schedule, steps: int) -> Tensor:
    """Clean images [B, ...] from `noise` [B, ...], standard normal; clean(noisy, t) is the clean image that a model sees in x_t."""
    noisy, times = noise, sampling_times(len(schedule), steps)
    for now, then in zip(times, [*times[1:], None], strict=True):
        noisy = denoise(noisy, clean(noisy, now), schedule, now, then)
    return noisy
