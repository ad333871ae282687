"""Settings of the optimisation loop that both stages share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dreamfusion_mesh.config.base import MOST_STEPS, Fraction, Settings


class FitSettings(Settings):
    """How a stage steps, and how often it leaves something to go on from."""

    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)]
    """Steps of the optimiser."""
    gradient_clip: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0
    """The largest norm, or value, that the gradient may have; what is larger is clipped to it."""
    gradient_clip_by: Literal["norm", "value"] = "norm"
    """norm: of the gradient of all parameters together, whose direction stays (arXiv:1211.5063, section 3.2); value: each by itself."""
    rate_schedule: Literal["linear", "cosine"] = "linear"
    """How the learning rates fall over the steps."""
    final_rate: Fraction = 0.1
    """Share of the first learning rates that the last step has; 1 keeps them constant."""
    checkpoint_seconds: Annotated[float, Field(ge=0, le=1e6)] = 60.0
    """Seconds of work between two checkpoints; 0 takes one after every step."""
