"""Classifier score distillation: the score of the words alone (Yu et al., arXiv:2310.19415)."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings, Span
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.guidance.answers import convert, guide, guided_by_words
from dreamfusion_mesh.guidance.losses.distilled import Distilled, with_gradient
from dreamfusion_mesh.guidance.losses.sds import draw_times
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.guidance.schedule import add_noise, draw_noise, weight
from dreamfusion_mesh.records.diffusion import Answers, Schedule


def classifier_score(answers: Answers, noisy: Tensor, schedule: Schedule, t: Tensor, negative: float, perp_neg: float = 0.0) -> Tensor:
    """eps_text - negative eps_neg - (1 - negative) eps_uncond, shaped like `noisy` [B, ...] at t [B] int64; eps_neg is `answers.negative`.

    Without it eps_text - eps_uncond. perp_neg is as in `guide`. Unlike SDS it has no noise in it, and it seeks a mode of what the words
    make likelier. Source: arXiv:2310.19415. Raises ValueError where the answers are the text's alone.
    """
    if answers.uncond is None:
        raise ValueError("answers: no uncond, expected one: the classifier's score is a difference from it")
    base = answers.uncond
    if answers.negative is not None:
        base = negative * answers.negative + (1 - negative) * answers.uncond
    text = guide(base, answers.text, 1.0, answers.others, perp_neg)
    with_words, without = (convert(each, noisy, schedule, t, answers.prediction, "epsilon") for each in (text, base))
    return with_words - without


def negative_share(span: Span, progress: float) -> float:
    """The negative words' share at `progress` in [0, 1], linear over `span`."""
    return span[0] + (span[1] - span[0]) * progress


def distill(model: ScoreModel, step: Step, settings: GuidanceSettings) -> Distilled:
    """As `sds.distill`, with w(t) times the classifier's score in the place of w(t) (eps_hat - eps); `settings.scale` is not used.

    Raises BadInput where the model has no answer without words.
    """
    latents, schedule = model.encode(step.render.rgb), model.schedule
    t = draw_times(model, step, settings)
    noise = draw_noise(latents.shape, step.draws).to(latents)
    with torch.no_grad():
        noisy = add_noise(latents, noise, schedule, t)
        answers = guided_by_words(model.answer(noisy, t, step.views), settings.loss)
        share = negative_share(settings.csd.negative, step.progress)
        score = classifier_score(answers, noisy, schedule, t, share, settings.perp_neg)
    weights = weight(schedule, t, settings.weighting).to(score).reshape(-1, *(1,) * (score.dim() - 1))
    return with_gradient(latents, weights * score, score, t)
