"""Where the light stands."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.records import Cameras, Lights

_LIGHT_HEIGHT = 0.8  # of the unstrayed light, per unit of its horizontal distance; what the embedded model was trained under


def lights_above(cameras: Cameras, ambient: float, diffuse: float, stray: Tensor | float = 0.0) -> Lights:
    """A light for each camera, from above it and from its side of the object; `stray` [B, 3] moves it before it is normalised."""
    azimuth = cameras.azimuth
    above = torch.stack((azimuth.sin(), torch.full_like(azimuth, _LIGHT_HEIGHT), azimuth.cos()), dim=1)
    return Lights(normalize(above + stray, dim=1), torch.full_like(azimuth, ambient), torch.full_like(azimuth, diffuse))
