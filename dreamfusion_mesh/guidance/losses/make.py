"""The loss that `guidance.loss` names."""

from __future__ import annotations

from typing import cast

import torch

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import AdaptableModel, PromptedModel, ScoreModel, SimilarityModel
from dreamfusion_mesh.guidance.losses import cfd, clip, csd, ism, sdi, sds, vsd
from dreamfusion_mesh.guidance.losses.loss import Loss, Stateless


def make_loss(model: PromptedModel, settings: GuidanceSettings, size: int, draws: torch.Generator) -> Loss:
    """The loss of one stage, which evaluates `model`; that is of the kind that `settings.loss` takes.

    size   pixels a side of the stage's images
    draws  on the CPU; gives what a loss that has a state begins with, and nothing to any other
    """
    match settings.loss:
        case "sds":
            return Stateless(lambda step: sds.distill(cast(ScoreModel, model), step, settings))
        case "csd":
            return Stateless(lambda step: csd.distill(cast(ScoreModel, model), step, settings))
        case "cfd":
            return cfd.ConsistentFlow(cast(ScoreModel, model), settings, size, draws)
        case "sdi":
            return Stateless(lambda step: sdi.distill(cast(ScoreModel, model), step, settings))
        case "ism":
            return Stateless(lambda step: ism.distill(cast(ScoreModel, model), step, settings))
        case "vsd":
            return vsd.VariationalScore(cast(AdaptableModel, model), settings, draws)
        case "clip":
            return Stateless(lambda step: clip.similarity(cast(SimilarityModel, model), step, settings.clip_loss))
