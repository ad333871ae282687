"""Settings of the tetrahedral surface, of the stage that refines it, and of what draws it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import MOST_STEPS, Count, Fraction, Rate, Settings, Weight, times_apart
from dreamfusion_mesh.config.fit import FitSettings


class FineSettings(FitSettings):
    """The tetrahedral surface and its colour, refined by score distillation."""

    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 150
    """Steps of the optimiser."""
    size: Annotated[int, Field(ge=8, le=2048)] = 128
    """Pixels a side of what is rendered."""
    views: Count = 2
    """Views in a step."""
    tet_size: Annotated[int, Field(ge=8, le=256)] = 64
    """Cells of the tetrahedral grid along the box's longest side at the last step (DMTet, arXiv:2111.04276)."""
    volume_subdivisions: Annotated[int, Field(ge=0, le=2)] = 0
    """How often the cells halve, at even shares of the steps (DMTet, arXiv:2111.04276)."""
    surface_subdivisions: Annotated[int, Field(ge=0, le=2)] = 0
    """Loop subdivisions of what is rendered and of the result (DMTet, arXiv:2111.04276)."""
    threshold: Annotated[float, Field(ge=1e-6, le=160_000)] | Literal["auto"] = "auto"
    """Density per scene unit at which the surface begins; auto: the one whose outlines fit the field's best. The field's own is at
    most exp(12), and below a millionth everything counts as solid."""
    sdf_learning_rate: Rate = 0.003
    """Learning rate of the signed distances: scene units a step where the gradient is of its usual size."""
    smoothing: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Scene units over which a step of the signed distances spreads (Nicolet et al., "Large Steps in Inverse Rendering of Geometry",
    2021): a flat side moves as one, and not cell by cell; 0 moves each for itself."""
    deform_learning_rate: Rate = 0.01
    """Learning rate of the vertices' moves before tanh, of which 1 is a fifth of a cell."""
    color_learning_rate: Rate = 0.003
    """Learning rate of the field that colours the surface."""
    t_max: tuple[Fraction, Fraction] = (0.9, 0.7)
    """As guidance.t_max, of this stage; a small model follows the prompt at high times alone, and lower ones let the colour drift."""
    t_min: tuple[Fraction, Fraction] = (0.3, 0.1)
    """As guidance.t_min, of this stage."""
    sdf_sign: tuple[Weight, Weight] = (0.003, 0.0)
    """Weight of the cross-entropy of edges that change sign, at the first and the last step: against floaters."""
    normal_consistency: Weight = 0.2
    """Weight of the mean bend between neighbouring faces: 1 - cos of small angles, less of edges. With a tenth of the default the noise of
    a real score stays on the surface as bumps."""
    laplacian: Weight = 0.0
    """Weight of the mean squared offset of a vertex from its neighbours' mean. It rounds edges and shrinks what is thin."""

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

    backend: Literal["auto", "warp", "nvdiffrast", "kaolin"] = "auto"
    """What draws triangles; auto is warp."""
