"""What a loss is given each step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dreamfusion_mesh.config import Span
from dreamfusion_mesh.records import Render, SurfacePoints, Views


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a stage, as its loss sees it. Raises ValueError unless there is one image a view.

    render        [B, H, H]     what `views` see
    progress      in [0, 1], of the stage's steps
    t_min, t_max  spans over the stage, as shares of all times: between these a time is drawn (see schedule.timestep_range)
    draws         on the CPU
    points        [B, S, S]     of the surface, where the loss asked for a grid of side S
    """

    render: Render
    views: Views
    progress: float
    t_min: Span
    t_max: Span
    draws: torch.Generator
    points: SurfacePoints | None = None

    def __post_init__(self) -> None:
        if len(self.render.rgb) != len(self.views):
            raise ValueError(f"render: {len(self.render.rgb)} images, expected one for each of {len(self.views)} views")
