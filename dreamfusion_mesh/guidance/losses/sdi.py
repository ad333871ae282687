"""Score distillation via inversion: SDS with the noise that the model itself sees in the image (Lukoianov et al., arXiv:2405.15891)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.guidance.answers import guided_noise
from dreamfusion_mesh.guidance.losses.distilled import Distilled, with_gradient
from dreamfusion_mesh.guidance.losses.inversion import ddim_deviation, ddim_step, first_time, last_time
from dreamfusion_mesh.guidance.losses.sds import draw_times, noise_residual
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.guidance.schedule import draw_noise
from dreamfusion_mesh.records.diffusion import Schedule

Predict = Callable[[Tensor, Tensor], Tensor]  # eps_hat [B, ...] at noisy [B, ...] and t [B] int64


@torch.no_grad()
def inverted_noise(
    latents: Tensor, predict: Predict, schedule: Schedule, t: Tensor, last: Tensor, inversions: int, share: float, draws: torch.Generator
) -> Tensor:
    """The noise eps [B, ...] for which signal x + noise eps is where DDIM's inversion of x = latents [B, ...] leads.

    t, last     [B] int64   the inversion takes the steps before t, and one more to `last`
    inversions  steps over all times; the k-th begins at k T / inversions ("leading")
    share       of DDIM's deviation, added as noise in each step; drawn from `draws` on the CPU
    It begins at `first_time` with signal x, without noise; eps is 0 where `last` is not after that. Source: arXiv:2405.15891.
    """
    begin, count = first_time(schedule), len(schedule)
    now = torch.full_like(t, begin)
    noisy, ends = schedule.at(now, latents)[0] * latents, torch.maximum(last, now)
    starts = {k * count // inversions for k in range(1, inversions)}
    for start in (*sorted(start for start in starts if start > begin), count):
        then = torch.where(t > start, start, ends)
        if bool((then == now).all()):
            break
        moved = ddim_step(noisy, predict(noisy, now), schedule, now, then)
        noisy = moved + share * ddim_deviation(latents, schedule, now, then) * draw_noise(latents.shape, draws).to(latents)
        now = then
    signal, noise = schedule.at(now, latents)
    return (noisy - signal * latents) / noise


def draw_ends(t: Tensor, count: int, inversions: int, draws: torch.Generator, together: int = 1) -> Tensor:
    """[B] int64: t [B] and a part of a step beyond, t + U(0, count / inversions), at most the last of `count` times.

    The same for each `together` in a row. Source: arXiv:2405.15891.
    """
    parts = torch.rand(len(t) // together, generator=draws).repeat_interleave(together)
    return (t + (parts * (count / inversions)).long().to(t.device)).clamp_max(count - 1)


def distill(model: ScoreModel, step: Step, settings: GuidanceSettings) -> Distilled:
    """As `sds.distill`, towards the clean image x0_hat that the model sees once x = latents has the noise that inversion finds in it.

    The gradient is (x - x0_hat) / (B N), that of half the mean square; x - x0_hat is noise / signal (eps_hat - eps). With
    `sdi.inversions` 0 the noise is fresh, and this is SDS with the weight noise / signal.
    """
    latents, schedule, own = model.encode(step.render.rgb), model.schedule, settings.sdi
    t = draw_times(model, step, settings).clamp_max(last_time(schedule))
    inverting = settings.model_copy(update={"scale": own.inversion_scale, "rescale": 0.0})

    def predict(noisy: Tensor, times: Tensor, guidance: GuidanceSettings = settings) -> Tensor:
        return guided_noise(model.answer(noisy, times, step.views), noisy, schedule, times, guidance)

    if own.inversions:
        last = draw_ends(t, len(schedule), own.inversions, step.draws, model.together)
        inverted = partial(predict, guidance=inverting)
        noise = inverted_noise(latents.detach(), inverted, schedule, t, last, own.inversions, own.inversion_noise, step.draws)
    else:
        noise = draw_noise(latents.shape, step.draws).to(latents)
    residual = noise_residual(latents, predict, schedule, t, noise)
    signal, sigma = schedule.at(t, latents)
    return with_gradient(latents, sigma / signal * residual, residual, t)
