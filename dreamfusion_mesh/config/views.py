"""Settings of cameras and lights."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import MOST_STEPS, Angle, Fraction, Settings, rising

# Scene units. The surface may reach 1.05 along each axis, so no camera nearer than this stands inside it; the rasterizers see from 0.1 to
# 10 in front of a camera, so from farther away than this the back of the surface would be cut off.
NEAREST, FARTHEST = 1.82, 8.0
Distance = Annotated[float, Field(ge=NEAREST, le=FARTHEST)]
FieldOfView = Annotated[float, Field(ge=5, le=120)]


class ViewSettings(Settings):
    """Where cameras and lights are drawn. A narrow model must see what it was trained on."""

    distance: tuple[Distance, Distance] = (2.5, 2.7)
    """Scene units from the middle to the camera, the least and the largest."""
    fov_y_degrees: tuple[FieldOfView, FieldOfView] = (39.0, 41.0)
    """Vertical field of view, the least and the largest."""
    elevation_degrees: tuple[Angle, Angle] = (-10.0, 50.0)
    """Elevation of the camera, the least and the largest."""
    overhead: Fraction = 0.1
    """Share of views drawn from `overhead_elevation_degrees` instead."""
    overhead_elevation_degrees: tuple[Angle, Angle] = (50.0, 85.0)
    """Elevation of those views, the least and the largest."""
    one_orbit: bool = False
    """All views of a step share one elevation, distance and field of view, as those that MVDream knows do (arXiv:2308.16512)."""
    position_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Scene units along each axis, to either side, by which cameras are moved (DreamFusion, arXiv:2209.14988, section 3.2)."""
    target_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation along each axis of where cameras look, scene units (DreamFusion, arXiv:2209.14988, section 3.2)."""
    ambient: Fraction = 0.35
    """Ambient light (DreamFusion, arXiv:2209.14988, section 3.1)."""
    diffuse: Fraction = 0.7
    """Diffuse light (DreamFusion, arXiv:2209.14988, section 3.1)."""
    light_spread: Annotated[float, Field(ge=0, le=100)] = 0.5
    """How far the light strays from above the camera."""
    lambertian: Fraction = 0.5
    """Share of lit views once `albedo_steps` are over (DreamFusion, arXiv:2209.14988, section 3.2)."""
    textureless: Fraction = 0.1
    """Share of grey clay views, likewise."""
    albedo_steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0
    """Steps at the beginning of the coarse stage in which colour alone is seen (DreamFusion, arXiv:2209.14988, section 3.2): light on
    the first normals, which are poor, leaves cavities filled."""
    grey_backgrounds: Fraction = 0.5
    """Share of views before a grey background; the others have any colour."""

    @model_validator(mode="after")
    def _spans(self) -> ViewSettings:
        for name in ("distance", "fov_y_degrees", "elevation_degrees", "overhead_elevation_degrees"):
            rising(name, getattr(self, name))
        near, far = self.distance
        jitter = math.sqrt(3) * self.position_jitter
        if near - jitter < NEAREST or far + jitter > FARTHEST:
            raise ValueError(
                f"with position_jitter {self.position_jitter:g} cameras stand {near - jitter:.4g} to {far + jitter:.4g} from the middle "
                f"(sqrt(3) * position_jitter nearer and farther than distance {list(self.distance)}), expected {NEAREST:g} to {FARTHEST:g}"
            )
        if self.lambertian + self.textureless > 1:
            raise ValueError(f"lambertian + textureless: at most 1 (given {self.lambertian:g} + {self.textureless:g})")
        return self
