"""Settings of the diffusion model and of score distillation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import Fraction, Settings, Span, Weight

MULTIVIEW = 4  # views that a multi-view model sees together


class GuidanceSettings(Settings):
    """Score distillation from one frozen diffusion model."""

    model: str = "embedded"  # or a folder in the diffusers layout
    scale: Annotated[float, Field(ge=0, le=200)] = 5.0
    perp_neg: Weight = 0.0  # how far to keep from other views' text (arXiv:2304.04968); above 0 adds a third evaluation per step
    rescale: Fraction = 0.0  # Lin et al., arXiv:2305.08891, section 3.4
    weighting: Literal["one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform"] = "uniform"
    t_max: Span = (0.98, 0.7)  # first and last step's value
    t_min: Span = (0.02, 0.02)
    textureless_words: str = "a grey clay {subject}"
    negative_prompt: str = ""
    front_degrees: Annotated[float, Field(gt=0, lt=90)] = 45.0  # half-width of "front view", and of "back view"
    overhead_degrees: Annotated[float, Field(gt=0, lt=90)] = 50.0
    half_precision: bool = True  # on CUDA, inside the model alone
    multiview: bool = False  # predict a step's four views together, given their cameras; needs a multi-view model, such as the embedded one

    @model_validator(mode="after")
    def _times(self) -> GuidanceSettings:
        for name in ("t_max", "t_min"):
            if not all(0 <= t <= 1 for t in getattr(self, name)):
                raise ValueError(f"{name}: both values lie in [0, 1]")
        if any(low >= high for low, high in zip(self.t_min, self.t_max, strict=True)):
            raise ValueError("t_min stays below t_max")
        return self
