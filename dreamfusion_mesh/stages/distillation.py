"""Score distillation as both stages ask for it: a loss that does not depend on how many values the model sees."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings, Span
from dreamfusion_mesh.guidance.losses import sds
from dreamfusion_mesh.records import Views


def distill(
    model: sds.ScoreModel,
    images: Tensor,
    views: Views,
    settings: GuidanceSettings,
    t_min: Span,
    t_max: Span,
    progress: float,
    draws: torch.Generator,
) -> sds.Distilled:
    """`losses.sds.distill`, its sum over the model's values made a mean, so that the regularisers' weights hold for any model."""
    distilled = sds.distill(model, images, views, settings.weighting, t_min, t_max, progress, draws)
    return replace(distilled, loss=distilled.loss / (3 * model.size**2))
