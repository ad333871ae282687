"""Settings of the tetrahedral surface, of the stage that refines it, and of what draws it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import MOST_STEPS, Count, Fraction, Rate, Settings, Weight, times_apart
from dreamfusion_mesh.config.fit import FitSettings


class FineSettings(FitSettings):
    """The tetrahedral surface and its colour, refined by score distillation."""

    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 150
    size: Annotated[int, Field(ge=8, le=2048)] = 128
    views: Count = 2
    tet_size: Annotated[int, Field(ge=8, le=256)] = 64  # cells along the box's longest side at the last step
    volume_subdivisions: Annotated[int, Field(ge=0, le=2)] = 0  # how often the cells halve, at even shares of the steps
    surface_subdivisions: Annotated[int, Field(ge=0, le=2)] = 0  # Loop subdivisions of what is rendered and of the result
    # A density per scene unit; the field's own is at most exp(12), and below a millionth everything counts as solid.
    threshold: Annotated[float, Field(ge=1e-6, le=160_000)] | Literal["auto"] = "auto"
    sdf_learning_rate: Rate = 0.001
    deform_learning_rate: Rate = 0.01  # of the moves before tanh, of which 1 is a fifth of a cell
    color_learning_rate: Rate = 0.001
    t_max: tuple[Fraction, Fraction] = (0.9, 0.7)  # a small model follows the prompt at high times alone; lower ones let the colour drift
    t_min: tuple[Fraction, Fraction] = (0.3, 0.1)
    sdf_sign: tuple[Weight, Weight] = (0.003, 0.0003)
    # Three times these, and an exact score cannot sharpen a table's edges; a third, and the noise of a real one stays on the surface.
    normal_consistency: Weight = 0.1
    laplacian: Weight = 0.002

    @model_validator(mode="after")
    def _halves(self) -> FineSettings:
        times = 2**self.volume_subdivisions
        if self.tet_size % times or self.tet_size < 4 * times:
            raise ValueError(
                f"with volume_subdivisions {self.volume_subdivisions} tet_size is a multiple of {times}, at least {4 * times} "
                f"(given {self.tet_size})"
            )
        return self

    @model_validator(mode="after")
    def _times(self) -> FineSettings:
        times_apart(self.t_min, self.t_max)
        return self


class RasterSettings(Settings):
    """What draws triangles, in the fine stage and in all that is delivered."""

    backend: Literal["auto", "warp", "nvdiffrast", "kaolin"] = "auto"  # auto is warp
