"""Settings of the diffusion model and of score distillation."""

from __future__ import annotations

import string
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dreamfusion_mesh.config.base import Fraction, Settings, Words, times_apart

MULTIVIEW = 4  # views that a multi-view model sees together
_LONGEST_SHOWN = 60  # characters of words that are refused


class GuidanceSettings(Settings):
    """Score distillation from one frozen diffusion model."""

    model: Words = "embedded"  # or a folder in the diffusers layout
    scale: Annotated[float, Field(ge=0, le=200)] = 5.0
    # How far to keep from other views' text (arXiv:2304.04968); above 0 adds a third evaluation per step.
    perp_neg: Annotated[float, Field(ge=0, le=100)] = 0.0
    rescale: Fraction = 0.0  # Lin et al., arXiv:2305.08891, section 3.4
    weighting: Literal["one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform"] = "uniform"
    t_max: tuple[Fraction, Fraction] = (0.98, 0.7)  # first and last step's value
    t_min: tuple[Fraction, Fraction] = (0.02, 0.02)
    textureless_words: Words = "a grey clay {subject}"
    negative_prompt: Words = ""
    front_degrees: Annotated[float, Field(ge=0, le=90)] = 45.0  # half-width of "front view", and of "back view"; 90 leaves no side view
    overhead_degrees: Annotated[float, Field(ge=0, le=90)] = 50.0  # "overhead view" above this elevation; 90 leaves none
    half_precision: bool = True  # on CUDA, inside the model alone
    multiview: bool = False  # predict a step's four views together, given their cameras; needs a multi-view model, such as the embedded one

    @field_validator("textureless_words")
    @classmethod
    def _placeholders(cls, words: str) -> str:
        allowed = f"allowed are {{subject}} and {{prompt}} (given {words[:_LONGEST_SHOWN]!r})"
        try:
            fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(words) if name is not None]
        except ValueError as error:
            raise ValueError(f"{error}; {allowed}") from None
        for name, spec, conversion in fields:
            if name not in ("subject", "prompt") or spec or conversion:
                raise ValueError(f"unknown placeholder {'{' + name[:_LONGEST_SHOWN] + '}'!r}; {allowed}")
        return words

    @model_validator(mode="after")
    def _times(self) -> GuidanceSettings:
        times_apart(self.t_min, self.t_max)
        return self
