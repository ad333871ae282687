"""The loss that `guidance.loss` names, on what the views see."""

from __future__ import annotations

from typing import cast

import torch

from dreamfusion_mesh.config import GuidanceSettings, Span
from dreamfusion_mesh.contracts import PromptedModel, ScoreModel, SimilarityModel
from dreamfusion_mesh.guidance.losses import clip, csd, ism, sdi, sds
from dreamfusion_mesh.guidance.losses.distilled import Distilled
from dreamfusion_mesh.records import Render, Views


def distill(
    model: PromptedModel,
    render: Render,
    views: Views,
    settings: GuidanceSettings,
    t_min: Span,
    t_max: Span,
    progress: float,
    draws: torch.Generator,
) -> Distilled:
    """Evaluate `model`, which is of the kind that `settings.loss` takes, on `render` [B, H, H] from `views`; progress is in [0, 1].

    t_min, t_max  of score distillation alone; `sds.distill` and `clip.similarity` document the rest
    Raises ValueError unless there is one image a view.
    """
    if len(render.rgb) != len(views):
        raise ValueError(f"render: {len(render.rgb)} images, expected one for each of {len(views)} views")
    if settings.loss == "clip":
        return clip.similarity(cast(SimilarityModel, model), render, views, settings.clip_loss, progress, draws)
    loss = {"sds": sds.distill, "csd": csd.distill, "sdi": sdi.distill, "ism": ism.distill}[settings.loss]
    return loss(cast(ScoreModel, model), render.rgb, views, settings, t_min, t_max, progress, draws)
