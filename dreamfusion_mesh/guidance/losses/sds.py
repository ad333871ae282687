"""Score distillation sampling: the mathematics, with the model handed in.

A model is trained on x_t = a x_0 + s eps, where a = sqrt(alpha_bar[t]) and s = sqrt(1 - alpha_bar[t]), and predicts eps, the clean
image x_0 ("sample"), or v = a eps - s x_0. The three are linear maps of one another at a given x_t.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from dreamfusion_mesh.config import Span
from dreamfusion_mesh.records import Views

Prediction = Literal["epsilon", "v_prediction", "sample"]
Weighting = Literal["one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform"]


class ScoreModel(Protocol):
    """A diffusion model that already knows its prompt.

    alpha_bar  [T]  share of signal variance left at each time, on the model's device
    size            pixels a side of the images it looks at
    together        images in a row that it sees together, and that therefore share their time
    """

    @property
    def alpha_bar(self) -> Tensor: ...

    @property
    def size(self) -> int: ...

    @property
    def together(self) -> int: ...

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, H, W, 3] in [0, 1] to latents [B, ...], differentiable."""

    def score(self, noisy: Tensor, t: Tensor, views: Views) -> Tensor:
        """Guided eps_hat, shaped like `noisy` [B, ...], at times t [B] int64 as seen from `views`."""


@dataclass(frozen=True)
class Distilled:
    """One step of score distillation.

    loss      scalar; its gradient is documented at `sds_loss`; zero, with zero gradient, where `finite` is False
    t         [B] int64    the times drawn
    finite    whether the model's answer was; where it was not, the caller skips the step
    residual  root mean square of eps_hat - eps, unweighted: how far the views are from what the model wants to see
    """

    loss: Tensor
    t: Tensor
    finite: bool
    residual: float


def convert(value: Tensor, noisy: Tensor, alpha_bar_t: Tensor, source: Prediction, target: Prediction) -> Tensor:
    """A prediction [B, ...] of kind `source` at `noisy` [B, ...], alpha_bar_t [B], as the kind `target`.

    From eps nothing else can be told where alpha_bar_t is 0, nor eps from the clean image where it is 1: those give inf or NaN.
    Source: Salimans and Ho, arXiv:2202.00512, appendix D.
    """
    if source == target:
        return value
    a, s = (_as_column(part.sqrt(), noisy) for part in (alpha_bar_t, 1 - alpha_bar_t))
    match source, target:
        case "epsilon", "sample":
            return (noisy - s * value) / a
        case "epsilon", "v_prediction":
            return (value - s * noisy) / a
        case "sample", "epsilon":
            return (noisy - a * value) / s
        case "sample", "v_prediction":
            return (a * noisy - value) / s
        case "v_prediction", "epsilon":
            return a * value + s * noisy
        case "v_prediction", "sample":
            return a * noisy - s * value
    raise ValueError(f"source {source!r}, target {target!r}: expected epsilon, v_prediction or sample")


def guide(uncond: Tensor, text: Tensor, scale: float, other: Tensor | None = None, perp_neg: float = 0.0) -> Tensor:
    """Classifier-free guidance, uncond + scale (text - uncond), all [B, ...]; away from what `other` words give, where there are any.

    perp_neg is how much is taken off of that part of (other - uncond) which is perpendicular to (text - uncond), sample by sample: what
    both share is left alone. At one x_t the kinds of prediction are affine maps of one another, and the weights here add up to 1: guiding
    the model's own prediction and guiding eps are the same. Sources: Ho and Salimans, arXiv:2207.12598, in the form where scale 1 is the
    text alone; Perp-Neg, Armandpour et al., arXiv:2304.04968, section 4.
    """
    toward = text - uncond
    if other is not None:
        away = other - uncond
        shared = (away * toward).flatten(1).sum(1) / toward.square().flatten(1).sum(1).clamp_min(torch.finfo(toward.dtype).tiny)
        toward = toward - perp_neg * (away - _as_column(shared, toward) * toward)
    return uncond + scale * toward


def rescale(guided: Tensor, text: Tensor, share: float) -> Tensor:
    """`guided` [B, ...] moved by `share` in [0, 1] towards the standard deviation of `text`, sample by sample.

    Unlike guidance this depends on the kind of prediction; meant is the model's own. Source: Lin et al., arXiv:2305.08891, eq. 14-16.
    """
    if share == 0:
        return guided
    ratio = text.flatten(1).std(dim=1) / guided.flatten(1).std(dim=1)
    return guided * _as_column(1 + share * (ratio - 1), guided)


def weight(alpha_bar_t: Tensor, kind: Weighting) -> Tensor:
    """w(t) [B] of alpha_bar_t [B].

    one_minus_alpha_bar: the variance of the noise, DreamFusion's choice. sqrt_one_minus_alpha_bar: the gradient becomes
    sqrt(alpha_bar) (x - x0_hat), a pull towards the clean image that stays bounded at all times. uniform: 1.
    """
    match kind:
        case "one_minus_alpha_bar":
            return 1 - alpha_bar_t
        case "sqrt_one_minus_alpha_bar":
            return (1 - alpha_bar_t).sqrt()
        case "uniform":
            return torch.ones_like(alpha_bar_t)
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


def sds_loss(
    latents: Tensor,
    predict: Callable[[Tensor, Tensor], Tensor],
    alpha_bar: Tensor,
    t: Tensor,
    noise: Tensor,
    weighting: Weighting = "one_minus_alpha_bar",
) -> Tensor:
    """Scalar whose gradient in `latents` [B, ...] is w(t) (eps_hat - eps) / B: a sum over pixels, a mean over the batch.

    predict(noisy [B, ...], t [B]) -> eps_hat is never differentiated. alpha_bar [T], t [B] int64, noise shaped like latents. The value
    itself means nothing. Source: DreamFusion, arXiv:2209.14988, eq. 3.
    """
    residual = _residual(latents, predict, alpha_bar, t, noise)
    return _loss_of(latents, residual, alpha_bar[t], weighting)


def distill(
    model: ScoreModel,
    images: Tensor,
    views: Views,
    weighting: Weighting,
    t_min: Span,
    t_max: Span,
    progress: float,
    draws: torch.Generator,
) -> Distilled:
    """Ask `model` once about images [B, H, W, 3] in [0, 1] rendered from `views`, each at a random time and noise.

    t_min and t_max are spans over the run as shares of all times, progress is in [0, 1]. Times, then noise, are drawn from `draws` on the
    CPU. The loss is that of `sds_loss` in the model's latents: not normalised by their number. Raises ValueError unless there is
    one image a view.
    """
    if len(images) != len(views):
        raise ValueError(f"images: {len(images)} of them, expected one for each of {len(views)} views")
    latents = model.encode(images)
    low, high = timestep_range(progress, t_min, t_max, len(model.alpha_bar))
    t = draw_timesteps(low, high, len(latents), draws, model.together).to(latents.device)
    noise = torch.randn(latents.shape, generator=draws).to(latents)
    residual = _residual(latents, lambda noisy, time: model.score(noisy, time, views), model.alpha_bar, t, noise)
    size = float(residual.square().mean().sqrt())
    finite = math.isfinite(size)
    loss = _loss_of(latents, residual if finite else torch.zeros_like(residual), model.alpha_bar[t], weighting)
    return Distilled(loss, t, finite, size)


def _residual(latents: Tensor, predict: Callable[[Tensor, Tensor], Tensor], alpha_bar: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """eps_hat - eps, outside any graph."""
    with torch.no_grad():
        a, s = (_as_column(part.sqrt(), latents) for part in (alpha_bar[t], 1 - alpha_bar[t]))
        return predict(a * latents + s * noise, t) - noise


def _loss_of(latents: Tensor, residual: Tensor, alpha_bar_t: Tensor, weighting: Weighting) -> Tensor:
    gradient = _as_column(weight(alpha_bar_t, weighting), residual) * residual
    return (gradient.detach() * latents).sum() / len(latents)


def _as_column(values: Tensor, like: Tensor) -> Tensor:
    """[B] to [B, 1, ...] in the dtype of `like` [B, ...]."""
    return values.to(like.dtype).reshape(-1, *(1,) * (like.dim() - 1))
