"""Settings of the field and of the stage that fits it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dreamfusion_mesh.config.base import Positive, Settings, Weight
from dreamfusion_mesh.config.fit import FitSettings


class FieldSettings(Settings):
    """Multi-resolution hash grid (Mueller et al., arXiv:2201.05989) and a small network."""

    levels: Annotated[int, Field(ge=1, le=16)] = 8
    features: Literal[1, 2, 4] = 2
    table_size_log2: Annotated[int, Field(ge=8, le=22)] = 15
    coarsest: Annotated[int, Field(ge=2, le=512)] = 8
    finest: Annotated[int, Field(ge=2, le=4096)] = 96
    hidden: Annotated[int, Field(ge=4, le=256)] = 32
    density_bias: float = -1.5
    blob_density: Weight = 3.0  # added before the exponential, as in DreamFusion, appendix A.2: 3 exp(-r^2 / (2 * 0.4^2))
    blob_radius: Positive = 0.4
    normals: Literal["analytic", "finite_differences"] = "analytic"  # differences evaluate six more points, but smooth over their step
    normal_step: Annotated[float, Field(gt=0, le=0.2)] = 0.01  # of the central differences, scene units


class CoarseSettings(FitSettings):
    """The field, fitted by score distillation."""

    steps: Annotated[int, Field(ge=1)] = 400
    size: Annotated[int, Field(ge=8, le=1024)] = 64  # pixels a side
    views: Annotated[int, Field(ge=1, le=64)] = 2
    learning_rate: Positive = 0.01  # of the hash grid
    network_learning_rate: Positive = 0.002
    field: FieldSettings = FieldSettings()
    samples: Annotated[int, Field(ge=8, le=1024)] = 64  # steps along the scene box's diagonal
    occupancy_size: Annotated[int, Field(ge=8, le=256)] = 48
    occupancy_interval: Annotated[int, Field(ge=1)] = 16
    orientation: Weight = 0.01
    opacity: Weight = 0.001
    entropy: Weight = 0.0
