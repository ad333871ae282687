"""Score distillation sampling: the mathematics, with the model handed in."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.guidance.answers import guided_noise
from dreamfusion_mesh.guidance.losses.distilled import Distilled
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.guidance.schedule import Weighting, add_noise, draw_noise, draw_timesteps, timestep_range, weight
from dreamfusion_mesh.records.diffusion import Schedule


def noise_residual(latents: Tensor, predict: Callable[[Tensor, Tensor], Tensor], schedule: Schedule, t: Tensor, noise: Tensor) -> Tensor:
    """eps_hat - eps, shaped like `latents` [B, ...], outside any graph; noise is shaped like them, t [B] int64.

    predict(noisy [B, ...], t [B]) -> eps_hat is never differentiated.
    """
    with torch.no_grad():
        return predict(add_noise(latents, noise, schedule, t), t) - noise


def sds_loss(latents: Tensor, residual: Tensor, schedule: Schedule, t: Tensor, weighting: Weighting) -> Tensor:
    """Scalar whose gradient in `latents` [B, ...] is w(t) residual / B: a sum over values, a mean over the batch.

    residual [B, ...] is eps_hat - eps at t [B] int64. The value itself means nothing. Source: DreamFusion, arXiv:2209.14988, eq. 3.
    """
    weights = weight(schedule, t, weighting).to(residual.dtype).reshape(-1, *(1,) * (residual.dim() - 1))
    return ((weights * residual).detach() * latents).sum() / len(latents)


def draw_times(model: ScoreModel, step: Step, settings: GuidanceSettings) -> Tensor:
    """Times [B] int64 for the step's images on the model's device, by the settings' schedule over the step's spans."""
    low, high = timestep_range(settings.time_schedule, step.progress, step.t_min, step.t_max, len(model.schedule))
    return draw_timesteps(low, high, len(step.views), step.draws, model.together).to(model.schedule.signal.device)


def distill(model: ScoreModel, step: Step, settings: GuidanceSettings) -> Distilled:
    """Evaluate `model` once on the step's images [B, H, H, 3] in [0, 1], at a random time and noise each.

    settings  scale, perp_neg, rescale and weighting; the model is bound to the same
    The step's draws give the times, then the noise.
    The loss's gradient in the model's latents [B, N values] is w(t) (eps_hat - eps) / (B N): a mean over values, so that its ratio to a
    regulariser does not depend on how many values a family of models sees.
    """
    latents, schedule = model.encode(step.render.rgb), model.schedule
    t = draw_times(model, step, settings)
    noise = draw_noise(latents.shape, step.draws).to(latents)

    def predict(noisy: Tensor, times: Tensor) -> Tensor:
        return guided_noise(model.answer(noisy, times, step.views), noisy, schedule, times, settings)

    residual = noise_residual(latents, predict, schedule, t, noise)
    size = float(residual.square().mean().sqrt())
    finite = math.isfinite(size)
    loss = sds_loss(latents, residual if finite else torch.zeros_like(residual), schedule, t, settings.weighting)
    return Distilled(loss / latents[0].numel(), t, finite, size)
