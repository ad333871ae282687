"""Settings of the field and of the stage that fits it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import MOST_STEPS, Angle, Count, Fraction, Rate, Settings, Weight
from dreamfusion_mesh.config.fit import FitSettings

MOST_SAMPLES = 2**31 - 1  # of a step, which the kernels count in 32 bits


class FieldSettings(Settings):
    """Multi-resolution hash grid (Mueller et al., arXiv:2201.05989) and a small network."""

    levels: Annotated[int, Field(ge=1, le=16)] = 8
    """Grids of the hash grid."""
    features: Literal[1, 2, 4] = 2
    """Values of a grid's cell."""
    table_size_log2: Annotated[int, Field(ge=8, le=22)] = 15
    """Logarithm to base 2 of each grid's rows."""
    coarsest: Annotated[int, Field(ge=2, le=512)] = 8
    """Cells along a side of the coarsest grid."""
    finest: Annotated[int, Field(ge=2, le=4096)] = 96
    """Cells along a side of the finest grid."""
    hidden: Annotated[int, Field(ge=4, le=256)] = 32
    """Width of the network behind the grids."""
    density_bias: Annotated[float, Field(ge=-50, le=12)] = -1.5
    """What is added to the logarithm of the density, which the field bounds at 12."""
    blob_density: Annotated[float, Field(ge=0, le=100)] = 3.0
    """Height of the first blob, in the logarithm of the density: 3 exp(-r^2 / (2 * 0.4^2)) (DreamFusion, arXiv:2209.14988,
    appendix A.2)."""
    blob_radius: Annotated[float, Field(ge=0.01, le=10)] = 0.4
    """Standard deviation of the blob, scene units; the gradient divides by its square."""
    normals: Literal["analytic", "finite_differences"] = "analytic"
    """finite_differences evaluates six more points, but smooths over their step."""
    normal_step: Annotated[float, Field(ge=1e-4, le=0.2)] = 0.01
    """Step of the central differences, scene units; below is float32's noise."""

    @model_validator(mode="after")
    def _rising(self) -> FieldSettings:
        if self.finest < self.coarsest:
            raise ValueError(f"finest is at least coarsest (given coarsest {self.coarsest}, finest {self.finest})")
        return self


class WarmStartSettings(Settings):
    """With `coarse.start` views: a multi-view model draws four views together (MVDream, arXiv:2308.16512), the field is fitted to these as
    to photographs (NeRF, arXiv:2003.08934), and the rest of the steps distils."""

    draw_steps: Annotated[int, Field(ge=1, le=1000)] = 20
    """Steps in which the views are drawn, by DDIM (arXiv:2010.02502)."""
    image_steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 50
    """Steps in which the field is fitted to them."""
    scale: Annotated[float, Field(ge=0, le=200)] = 3.0
    """As guidance.scale, while the views are drawn; without Perp-Neg."""
    background: tuple[Fraction, Fraction, Fraction] = (0.8, 0.2, 0.8)
    """Colour of the plain background, noised, from which they are drawn (SDEdit, arXiv:2108.01073). What looks like it is taken for empty:
    choose another one for an object of this colour."""
    strength: Annotated[float, Field(ge=0.5, le=1)] = 0.95
    """Time to which it is noised, as a share of the schedule. The nearer to 1, the less of it is left, and the more each view has the
    background that its own noise suggests."""
    elevation_degrees: Angle = 20.0
    """Elevation of the four cameras, which stand in front, behind and at both sides."""
    levels: Annotated[int, Field(ge=1, le=16)] = 3
    """How many of the field's grids learn from them, coarsest first; the others join one by one while score distillation goes on. Fine
    ones fit each picture by specks of its own, and leave the object full of holes (coarse to fine as in Neuralangelo, arXiv:2306.03092,
    section 3.2)."""
    all_levels: Fraction = 0.6
    """Share of the steps of score distillation after which all grids learn; 0: from the first one on."""
    rate: Annotated[float, Field(ge=0.01, le=100)] = 2.0
    """Learning rates of these steps, in the stage's first ones, with which distillation begins after them: pictures without noise bear
    faster steps than a score."""
    image: Weight = 10.0
    """Weight of the mean squared difference to what was drawn."""
    outline: Weight = 1.0
    """Weight of the mean squared opacity where the background was drawn."""
    t_max: tuple[Fraction, Fraction] = (0.9, 0.7)
    """As guidance.t_max, of the steps that follow."""


class CoarseSettings(FitSettings):
    """The field, fitted by score distillation."""

    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 400
    """Steps of the optimiser; with start views those of the warm start are among them."""
    start: Literal["sphere", "views"] = "sphere"
    """What score distillation begins with. sphere: a blob in the middle (DreamFusion, arXiv:2209.14988, appendix A.2); views: the object as
    a multi-view model, such as the embedded one, draws it (see coarse.warm_start)."""
    size: Annotated[int, Field(ge=8, le=1024)] = 64
    """Pixels a side of what is rendered."""
    views: Count = 2
    """Views in a step."""
    learning_rate: Rate = 0.01
    """Learning rate of the hash grid."""
    network_learning_rate: Rate = 0.002
    """Learning rate of the network behind it."""
    field: FieldSettings = FieldSettings()
    warm_start: WarmStartSettings = WarmStartSettings()
    samples: Annotated[int, Field(ge=8, le=1024)] = 64
    """Samples along the scene box's diagonal."""
    occupancy_size: Annotated[int, Field(ge=8, le=256)] = 48
    """Cells along a side of the grid that says where samples are spared."""
    occupancy_interval: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 16
    """Steps from one update of that grid to the next."""
    orientation: Weight = 0.01
    """Weight of the penalty of normals that face away from the camera (DreamFusion, arXiv:2209.14988, appendix A.2)."""
    opacity: Weight = 0.001
    """Weight of the mean of sqrt(alpha^2 + 0.01), against fog (DreamFusion, arXiv:2209.14988, appendix A.2)."""
    entropy: Weight = 0.0
    """Weight of the binary entropy of alpha at the last step, to which it grows from 0."""

    @model_validator(mode="after")
    def _enough_steps(self) -> CoarseSettings:
        if self.start == "views" and self.steps < self.warm_steps:
            warm = self.warm_start
            raise ValueError(
                f"start views: warm_start.draw_steps {warm.draw_steps} and warm_start.image_steps {warm.image_steps} are among steps: set "
                f"steps to {self.warm_steps} or more (given {self.steps})"
            )
        return self

    @model_validator(mode="after")
    def _countable(self) -> CoarseSettings:
        samples = self.views * self.size**2 * self.samples
        if samples > MOST_SAMPLES:
            raise ValueError(
                f"views {self.views}, size {self.size} and samples {self.samples} make {samples} samples a step "
                f"(views * size^2 * samples), at most {MOST_SAMPLES} can be counted; lower one of them"
            )
        return self

    def levels_at(self, share: float) -> int:
        """How many of the field's grids learn once `share` in [0, 1] of the steps of score distillation are done; below 0 before them."""
        most, grow = self.field.levels, self.warm_start.all_levels
        if self.start != "views" or share >= grow:
            return most
        first = min(most, self.warm_start.levels)
        return first if share <= 0 else first + int((most - first) * share / grow)

    @property
    def warm_steps(self) -> int:
        """How many of the steps come before score distillation."""
        return self.warm_start.draw_steps + self.warm_start.image_steps if self.start == "views" else 0
