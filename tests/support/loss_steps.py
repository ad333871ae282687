"""A loss' step from images alone."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.config import Span
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.records import Render, Views


def step_of(images: Tensor, views: Views, t_min: Span, t_max: Span, progress: float, draws: torch.Generator) -> Step:
    """A step that shows `images` [B, H, W, 3], opaque all over and without a surface."""
    nothing = torch.zeros_like(images)
    one = torch.ones_like(images[..., :1])
    return Step(Render(images, one, nothing, nothing, one, 0 * one), views, progress, t_min, t_max, draws)
