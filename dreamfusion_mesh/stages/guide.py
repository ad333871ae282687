"""What a stage's loss makes of what its views see."""

from __future__ import annotations

import torch

from dreamfusion_mesh.config import Span
from dreamfusion_mesh.guidance.losses.distilled import Distilled
from dreamfusion_mesh.guidance.losses.loss import Loss
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.records import Render, Views
from dreamfusion_mesh.render.points import surface_points


def guide(loss: Loss, render: Render, views: Views, progress: float, t_min: Span, t_max: Span, draws: torch.Generator) -> Distilled:
    """Evaluate `loss` on `render` [B, H, H] from `views`, with the surface's points where it asks for them; the rest is as in Step."""
    points = surface_points(render, views, loss.points_side) if loss.points_side else None
    distilled: Distilled = loss(Step(render, views, progress, t_min, t_max, draws, points))
    return distilled
