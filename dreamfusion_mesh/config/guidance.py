"""Settings of the diffusion model and of score distillation."""

from __future__ import annotations

import string
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dreamfusion_mesh.config.base import Count, Fraction, Settings, Weight, Words, rising, times_apart
from dreamfusion_mesh.config.distillation import CsdSettings, IsmSettings, SdiSettings

MULTIVIEW = 4  # views that a multi-view model sees together
_LONGEST_SHOWN = 60  # characters of words that are refused
Transmittance = Annotated[float, Field(ge=0, le=0.999)]
Blur = Annotated[float, Field(ge=0, le=0.5)]


class ClipLossSettings(Settings):
    """Dream Fields (Jain et al., arXiv:2112.01455, sections 3.2 and 3.3, and its published settings), with what CLIP-Mesh changes in it."""

    # Against fog and floating pieces: -transmittance * min(target, mean share of the picture that shows the background).
    transmittance: Weight = 0.5
    target_transmittance: tuple[Transmittance, Transmittance] = (0.5, 0.9)  # at first, and once `anneal` of the steps is done
    anneal: Fraction = 0.05
    random_backgrounds: Fraction = 1.0  # share of pictures before noise, a checkerboard or a Fourier texture, the others plain
    background_blur: tuple[Blur, Blur] = (0.0, 0.045)  # standard deviations to draw from, in sides of the picture
    crops: Count = 8  # pictures of a view, each cut at random; 1 in CLIP-Mesh (Khalid et al., arXiv:2203.13333)
    crop_size: Annotated[float, Field(ge=0.25, le=1)] = 0.9  # side of a cut in sides of the picture; 1 cuts nothing

    @model_validator(mode="after")
    def _spans(self) -> ClipLossSettings:
        rising("background_blur", self.background_blur)
        return self


class GuidanceSettings(Settings):
    """What guides: score distillation from one frozen diffusion model, or the similarity of a CLIP."""

    # sds: score distillation from `model`, a diffusion model; clip: the similarity of a CLIP, as the baselines before it have it
    loss: Literal["sds", "csd", "sdi", "ism", "clip"] = "sds"
    model: Words = "embedded"  # of sds: or a folder in the diffusers layout
    clip: Words = "embedded"  # of clip: or a folder that holds a CLIP
    clip_loss: ClipLossSettings = ClipLossSettings()
    csd: CsdSettings = CsdSettings()
    sdi: SdiSettings = SdiSettings()
    ism: IsmSettings = IsmSettings()
    scale: Annotated[float, Field(ge=0, le=200)] = 5.0
    # How far to keep from other views' text (arXiv:2304.04968); above 0 adds a third evaluation per step.
    perp_neg: Annotated[float, Field(ge=0, le=100)] = 0.0
    rescale: Fraction = 0.0  # Lin et al., arXiv:2305.08891, section 3.4
    weighting: Literal["one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform"] = "uniform"
    t_schedule: Literal["auto", "fixed", "linear", "sqrt", "dreamtime", "deterministic"] = "auto"
    """How t_min and t_max go over the steps. fixed: their first values (DreamFusion, arXiv:2209.14988); linear: each from its first to its
    last (ProlificDreamer, arXiv:2305.16213, lowers t_max). One time for all views of a step, t_max from its first to its last value:
    deterministic: linearly (CFD, arXiv:2501.05445; SDI, arXiv:2405.15891); sqrt: by the square root of the progress (HiFA,
    arXiv:2305.18766); dreamtime: longest from 0.8 to 0.5 (DreamTime, arXiv:2306.12422). auto: deterministic for sdi, else linear."""
    t_max: tuple[Fraction, Fraction] = (0.98, 0.7)  # first and last step's value
    t_min: tuple[Fraction, Fraction] = (0.02, 0.02)
    textureless_words: Words = "a grey clay {subject}"
    negative_prompt: Words = ""
    view_words: bool = True  # name the view in the words, DreamFusion, section 3.2
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

    @property
    def time_schedule(self) -> Literal["fixed", "linear", "sqrt", "dreamtime", "deterministic"]:
        """`t_schedule`, where that is auto the loss's own."""
        if self.t_schedule != "auto":
            return self.t_schedule
        return "deterministic" if self.loss == "sdi" else "linear"

    @property
    def loaded_model(self) -> str:
        """The model that the loss asks for, as `model` or `clip` names it."""
        return self.clip if self.loss == "clip" else self.model

    @model_validator(mode="after")
    def _similarity(self) -> GuidanceSettings:
        if self.loss == "clip" and (self.multiview or self.perp_neg):
            found = "multiview true" if self.multiview else f"perp_neg {self.perp_neg:g}"
            raise ValueError(f"loss clip has no diffusion model that sees other views: set perp_neg=0 and multiview=false (given {found})")
        return self

    @model_validator(mode="after")
    def _views_in_words(self) -> GuidanceSettings:
        if self.perp_neg and not (self.view_words or self.multiview):
            raise ValueError(f"perp_neg keeps away from other views' words, and view_words is false (given perp_neg {self.perp_neg:g})")
        return self
