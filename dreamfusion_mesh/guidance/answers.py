"""From a model's raw predictions to one guided eps_hat: classifier-free guidance, Perp-Neg, rescaling, conversion between predictions.

At a given x_t the kinds of prediction (eps, the clean image x_0, v, a flow's velocity) are affine maps of one another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records.diffusion import Answers, Prediction, Schedule


def guided_noise(answers: Answers, noisy: Tensor, schedule: Schedule, t: Tensor, settings: GuidanceSettings) -> Tensor:
    """eps_hat shaped like `noisy` [B, ...] at t [B] int64, guided with the scale, perp_neg and rescale of `settings`.

    Answers without `uncond` are taken as they are. Raises ValueError where Perp-Neg is set and the model gave no `others`.
    """
    return convert(_guided(answers, settings), noisy, schedule, t, answers.prediction, "epsilon")


def guided_image(answers: Answers, noisy: Tensor, schedule: Schedule, t: Tensor, settings: GuidanceSettings) -> Tensor:
    """The clean image x0_hat that `guided_noise` means; of models that predict it, also where there is no signal."""
    return convert(_guided(answers, settings), noisy, schedule, t, answers.prediction, "sample")


def guided_by_words(answers: Answers, loss: str) -> Answers:
    """The same answers. Raises BadInput where they are the text's alone, which `loss` cannot use."""
    if answers.uncond is None:
        raise BadInput(
            f"guidance.loss {loss}: compares the words with none, and this model answers with words alone; use guidance.loss=sds"
        )
    return answers


def guide(uncond: Tensor, text: Tensor, scale: float, others: Sequence[Tensor] = (), perp_neg: float = 0.0) -> Tensor:
    """Classifier-free guidance, uncond + scale (text - uncond), all [B, ...]; away from each of `others`.

    perp_neg is how much is taken off of that part of (other - uncond) which is perpendicular to (text - uncond), sample by sample: what
    both share is left alone. The weights add up to 1, so guiding the model's own prediction and guiding eps are the same. Sources: Ho and
    Salimans, arXiv:2207.12598, in the form where scale 1 is the text alone; Perp-Neg, Armandpour et al., arXiv:2304.04968, section 4.
    """
    direction = text - uncond
    kept = direction
    for other in others:
        away = other - uncond
        shared = (away * direction).flatten(1).sum(1) / direction.square().flatten(1).sum(1).clamp_min(torch.finfo(direction.dtype).tiny)
        kept = kept - perp_neg * (away - _column(shared, direction) * direction)
    return uncond + scale * kept


def rescale(guided: Tensor, text: Tensor, share: float) -> Tensor:
    """`guided` [B, ...] moved by `share` in [0, 1] towards the standard deviation of `text`, sample by sample.

    Unlike guidance this depends on the kind of prediction; meant is the model's own. Source: Lin et al., arXiv:2305.08891, eq. 14-16.
    """
    if share == 0:
        return guided
    ratio = text.flatten(1).std(dim=1) / guided.flatten(1).std(dim=1)
    return guided * _column(1 + share * (ratio - 1), guided)


def convert(value: Tensor, noisy: Tensor, schedule: Schedule, t: Tensor, source: Prediction, target: Prediction) -> Tensor:
    """A prediction [B, ...] of kind `source` at x_t = `noisy` [B, ...], t [B] int64, as the kind `target`.

    Where there is no signal, eps determines neither the clean image nor v; where there is no noise, the clean image does not determine eps:
    the result there is inf or NaN. v is defined for schedules that preserve variance, the velocity eps - x_0 ("flow") for those whose
    signal and noise add up to 1: between these two there is no conversion. Raises ValueError for it.
    Sources: Salimans and Ho, arXiv:2202.00512, appendix D; Liu et al., arXiv:2209.03003, eq. 1.
    """
    if source == target:
        return value
    a, s = schedule.at(t, noisy)
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
        case "epsilon", "flow":
            return (value - noisy) / a
        case "sample", "flow":
            return (noisy - value) / s
        case "flow", "epsilon":
            return noisy + a * value
        case "flow", "sample":
            return noisy - s * value
    raise ValueError(f"source {source!r}, target {target!r}: expected epsilon, sample, and v_prediction or flow, not both of these")


def _guided(answers: Answers, settings: GuidanceSettings) -> Tensor:
    """The model's own kind of prediction, guided."""
    if answers.uncond is None:
        return answers.text
    if settings.perp_neg and not answers.others:
        raise ValueError(f"answers: no others, expected some with guidance.perp_neg {settings.perp_neg:g}")
    guided = guide(answers.uncond, answers.text, settings.scale, answers.others, settings.perp_neg)
    return rescale(guided, answers.text, settings.rescale)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """[B] to [B, 1, ...], as many dimensions as `like` has."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))
