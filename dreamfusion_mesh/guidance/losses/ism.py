"""Interval score matching: from one time to the next, along the way that the model itself takes (LucidDreamer, arXiv:2311.11284)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.guidance.answers import guided_by_words, guided_noise
from dreamfusion_mesh.guidance.losses.distilled import Distilled, with_gradient
from dreamfusion_mesh.guidance.losses.inversion import ddim_step, first_time, last_time
from dreamfusion_mesh.guidance.losses.sds import draw_times
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.records.diffusion import Schedule

Predict = Callable[[Tensor, Tensor], Tensor]  # eps_hat [B, ...] at noisy [B, ...] and t [B] int64


@torch.no_grad()
def interval_score(
    latents: Tensor, guided: Predict, without_words: Predict, schedule: Schedule, t: Tensor, interval: int, inversions: int
) -> tuple[Tensor, Tensor]:
    """eps_cfg(x_t) - eps_uncond(x_s), shaped like `latents` [B, ...], and the times t [B] int64 at which it was taken.

    interval    s = t - interval, in times, but not before `first_time`; t is raised to that, too
    inversions  DDIM steps without words, alike long, from signal x at `first_time` to x_s; x_t is one more step from x_s
    No noise is drawn. Source: arXiv:2311.11284.
    """
    begin = torch.full_like(t, first_time(schedule))
    t = torch.maximum(t, begin)
    s = torch.maximum(t - interval, begin)
    now, noisy = begin, schedule.at(begin, latents)[0] * latents
    for step in range(1, inversions + 1):
        then = begin + (s - begin) * step // inversions
        noisy = ddim_step(noisy, without_words(noisy, now), schedule, now, then)
        now = then
    before = without_words(noisy, s)
    noisy = ddim_step(noisy, before, schedule, s, t)
    return guided(noisy, t) - before, t


def interval_weight(schedule: Schedule, t: Tensor) -> Tensor:
    """w [B] = noise / signal at t [B] int64. Source: arXiv:2311.11284 and its published code."""
    return schedule.noise[t] / schedule.signal[t]


def distill(model: ScoreModel, step: Step, settings: GuidanceSettings) -> Distilled:
    """As `sds.distill`, with noise / signal times the interval's score in the place of w(t) (eps_hat - eps), and no noise drawn.

    Raises BadInput where the model has no answer without words.
    """
    latents, schedule = model.encode(step.render.rgb), model.schedule
    drawn = draw_times(model, step, settings).clamp_max(last_time(schedule))

    def guided(noisy: Tensor, t: Tensor) -> Tensor:
        return guided_noise(guided_by_words(model.answer(noisy, t, step.views), settings.loss), noisy, schedule, t, settings)

    def without_words(noisy: Tensor, t: Tensor) -> Tensor:
        return guided_noise(model.answer_without_words(noisy, t, step.views), noisy, schedule, t, settings)

    interval = max(1, round(settings.ism.interval * len(schedule)))
    score, t = interval_score(latents.detach(), guided, without_words, schedule, drawn, interval, settings.ism.inversions)
    weights = interval_weight(schedule, t).to(score).reshape(-1, *(1,) * (score.dim() - 1))
    return with_gradient(latents, weights * score, score, t)
