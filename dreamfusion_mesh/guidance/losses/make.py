"""The loss that `guidance.loss` names."""

from __future__ import annotations

from typing import cast

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import PromptedModel, ScoreModel, SimilarityModel
from dreamfusion_mesh.guidance.losses import clip, csd, ism, sdi, sds
from dreamfusion_mesh.guidance.losses.loss import Loss, Stateless

_OF_THE_STEP = {"sds": sds.distill, "csd": csd.distill, "sdi": sdi.distill, "ism": ism.distill}


def make_loss(model: PromptedModel, settings: GuidanceSettings) -> Loss:
    """The loss of one stage, which evaluates `model`; that is of the kind that `settings.loss` takes."""
    match settings.loss:
        case "clip":
            return Stateless(lambda step: clip.similarity(cast(SimilarityModel, model), step, settings.clip_loss))
        case name:
            return Stateless(lambda step: _OF_THE_STEP[name](cast(ScoreModel, model), step, settings))
