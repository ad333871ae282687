"""Classifier score distillation: the score of the words alone (Yu et al., arXiv:2310.19415)."""

from __future__ import annotations

from torch import Tensor

from dreamfusion_mesh.config import Span
from dreamfusion_mesh.guidance.answers import convert, guide
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
