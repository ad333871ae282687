"""Settings of single losses, beside score distillation sampling's own in config/guidance.py."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dreamfusion_mesh.config.base import Fraction, Rate, Settings

GuidanceScale = Annotated[float, Field(ge=-200, le=200)]
Inversions = Annotated[int, Field(ge=0, le=100)]


class CsdSettings(Settings):
    """Classifier score distillation (Yu et al., arXiv:2310.19415)."""

    negative: tuple[Fraction, Fraction] = (1.0, 0.5)
    """Share of `negative_prompt` in what is taken off the text's prediction, at the first and the last step; the rest is without words."""


class CfdSettings(Settings):
    """Consistent flow distillation (Yan et al., arXiv:2501.05445). Published with `guidance.scale` 50 and `t_max` from 0.98 to 0.26."""

    gamma: Fraction = 0.0001
    """How much of the noise is renewed each step: W becomes sqrt(1 - gamma) W + sqrt(gamma) xi; 1 is SDS with the weight noise / signal;
    the published one."""
    voxels: Annotated[int, Field(ge=8, le=1024)] = 96
    """Along a side of the scene's box: the surface's noise is one number in each. Larger ones put the same noise into neighbouring pixels,
    smaller ones let two cameras see different noise in one place."""
    most_weight: Annotated[float, Field(ge=0.01, le=1000)] = 10.0
    """Where lambda, noise / signal at the step's time, is cut off."""


class SdiSettings(Settings):
    """Score distillation via inversion (Lukoianov et al., arXiv:2405.15891)."""

    inversions: Inversions = 10
    """DDIM steps from no noise to all, of which those up to the time drawn are taken; the published one. 0: fresh noise, which is SDS with
    the weight noise / signal."""
    inversion_scale: GuidanceScale = -7.5
    """Guidance scale of these steps; the published one. The prediction after them has `guidance.scale`, 7.5 as published."""
    inversion_noise: Fraction = 0.3
    """Share of DDIM's standard deviation that each of these steps adds as fresh noise (eta of arXiv:2010.02502); the published one."""


class IsmSettings(Settings):
    """Interval score matching (LucidDreamer, Liang et al., arXiv:2311.11284)."""

    inversions: Annotated[int, Field(ge=1, le=100)] = 5
    """DDIM steps without words from no noise to the interval's first time; the published one."""
    interval: Annotated[float, Field(ge=0.001, le=0.5)] = 0.05
    """Share of all times between the interval's two; the published one."""


class VsdSettings(Settings):
    """Variational score distillation (ProlificDreamer, Wang et al., arXiv:2305.16213); takes `pip install "dreamfusion-mesh[vsd]"`."""

    rank: Annotated[int, Field(ge=1, le=128)] = 4
    """Rank of the LoRA (arXiv:2106.09685) that learns what the renders look like; it sits on the U-Net's attention."""
    learning_rate: Rate = 0.001
    """The LoRA's learning rate, which stays; published is 0.0001, with a run of 25,000 steps."""
