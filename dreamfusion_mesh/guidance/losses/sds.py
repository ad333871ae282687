"""Score distillation sampling: the mathematics, with the model handed in."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings, Span
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.guidance.answers import guided_noise
from dreamfusion_mesh.guidance.losses.distilled import Distilled
from dreamfusion_mesh.guidance.schedule import Weighting, add_noise, draw_noise, draw_timesteps, timestep_range, weight
from dreamfusion_mesh.records import Views
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


def draw_times(
    model: ScoreModel, latents: Tensor, settings: GuidanceSettings, t_min: Span, t_max: Span, progress: float, draws: torch.Generator
) -> Tensor:
    """Times [B] int64 for `latents` [B, ...] on their device, by the settings' schedule over the spans."""
    low, high = timestep_range(settings.time_schedule, progress, t_min, t_max, len(model.schedule))
    return draw_timesteps(low, high, len(latents), draws, model.together).to(latents.device)


def distill(
    model: ScoreModel,
    images: Tensor,
    views: Views,
    settings: GuidanceSettings,
    t_min: Span,
    t_max: Span,
    progress: float,
    draws: torch.Generator,
) -> Distilled:
    """Evaluate `model` once on images [B, H, W, 3] in [0, 1], one from each of `views`, at a random time and noise each.

    settings        scale, perp_neg, rescale and weighting; the model is bound to the same
    t_min, t_max    spans over the run as shares of all times; progress is in [0, 1]
    draws           on the CPU; gives the times, then the noise
    The loss's gradient in the model's latents [B, N values] is w(t) (eps_hat - eps) / (B N): a mean over values, so that its ratio to a
    regulariser does not depend on how many values a family of models sees.
    """
    latents, schedule = model.encode(images), model.schedule
    t = draw_times(model, latents, settings, t_min, t_max, progress, draws)
    noise = draw_noise(latents.shape, draws).to(latents)

    def predict(noisy: Tensor, times: Tensor) -> Tensor:
        return guided_noise(model.answer(noisy, times, views), noisy, schedule, times, settings)

    residual = noise_residual(latents, predict, schedule, t, noise)
    size = float(residual.square().mean().sqrt())
    finite = math.isfinite(size)
    loss = sds_loss(latents, residual if finite else torch.zeros_like(residual), schedule, t, settings.weighting)
    return Distilled(loss / latents[0].numel(), t, finite, size)
