"""Settings of the tetrahedral surface, of the stage that refines it, and of what draws it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import Positive, Settings, Span, Weight
from dreamfusion_mesh.config.fit import FitSettings


class FineSettings(FitSettings):
    """The tetrahedral surface and its colour, refined by score distillation."""

    steps: Annotated[int, Field(ge=0)] = 150
    size: Annotated[int, Field(ge=8, le=2048)] = 128
    views: Annotated[int, Field(ge=1, le=64)] = 2
    tet_size: Annotated[int, Field(ge=8, le=256)] = 64  # cells along the box's longest side at the last step
    volume_subdivisions: Annotated[int, Field(ge=0, le=2)] = 0  # how often the cells halve, at even shares of the steps
    surface_subdivisions: Annotated[int, Field(ge=0, le=2)] = 0  # Loop subdivisions of what is rendered and of the result
    threshold: float | Literal["auto"] = "auto"
    sdf_learning_rate: Positive = 0.001
    deform_learning_rate: Positive = 0.001
    color_learning_rate: Positive = 0.001
    t_max: Span = (0.9, 0.7)  # a small model follows the prompt at high times alone; lower ones let the colour drift
    t_min: Span = (0.3, 0.1)
    sdf_sign: Span = (0.003, 0.0003)
    normal_consistency: Weight = 0.3
    laplacian: Weight = 0.005

    @model_validator(mode="after")
    def _halves(self) -> FineSettings:
        times = 2**self.volume_subdivisions
        if self.tet_size % times or self.tet_size < 4 * times:
            raise ValueError(
                f"volume_subdivisions {self.volume_subdivisions}: tet_size is a multiple of {times} then, at least {4 * times}"
            )
        return self


class RasterSettings(Settings):
    """What draws triangles, in the fine stage and in all that is delivered."""

    backend: Literal["auto", "warp", "nvdiffrast", "kaolin"] = "auto"  # auto is warp
