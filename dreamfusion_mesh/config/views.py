"""Settings of cameras and lights."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import Fraction, Settings, Span, Weight


class ViewSettings(Settings):
    """Where cameras and lights are drawn. A narrow model must see what it was trained on."""

    distance: Span = (2.5, 2.7)
    fov_y_degrees: Span = (39.0, 41.0)
    elevation_degrees: Span = (-10.0, 50.0)
    overhead: Fraction = 0.1  # share of views drawn from `overhead_elevation_degrees` instead
    overhead_elevation_degrees: Span = (50.0, 85.0)
    position_jitter: Weight = 0.0
    target_jitter: Weight = 0.0
    ambient: Fraction = 0.35
    diffuse: Fraction = 0.7
    light_spread: Weight = 0.5  # how far the light strays from above the camera
    lambertian: Fraction = 0.5  # share of lit views once `albedo_steps` are over
    textureless: Fraction = 0.1  # share of grey clay views, likewise
    albedo_steps: Annotated[int, Field(ge=0)] = 0
    grey_backgrounds: Fraction = 0.5  # the others have any colour

    @model_validator(mode="after")
    def _spans(self) -> ViewSettings:
        for name in ("distance", "fov_y_degrees", "elevation_degrees", "overhead_elevation_degrees"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the first value is the lower one")
        if self.distance[0] <= 1.8:
            raise ValueError("distance: above 1.8, so that no camera stands inside the scene's box")
        if not (self.fov_y_degrees[0] >= 5 and self.fov_y_degrees[1] <= 120):
            raise ValueError("fov_y_degrees: from 5 to 120")
        if self.lambertian + self.textureless > 1:
            raise ValueError("lambertian + textureless: at most 1")
        return self
