"""Settings of the optimisation loop that both stages share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dreamfusion_mesh.config.base import Fraction, Positive, Settings, Weight


class FitSettings(Settings):
    """How a stage steps, and how often it leaves something to go on from."""

    steps: Annotated[int, Field(ge=0)]
    gradient_clip: Positive = 1.0  # largest norm of the gradient of all parameters together
    rate_schedule: Literal["linear", "cosine"] = "linear"  # how the learning rates fall over the steps
    final_rate: Fraction = 0.1  # share of the first learning rates that the last step has; 1 keeps them constant
    checkpoint_seconds: Weight = 60.0  # work between two checkpoints; 0 takes one after every step
