"""Display-referred colour and linear light."""

from __future__ import annotations

import torch
from torch import Tensor


def srgb_to_linear(color: Tensor) -> Tensor:
    """Display-referred [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(color <= 0.04045, color / 12.92, ((color.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: Tensor) -> Tensor:
    """Linear light to display-referred [0, 1] (IEC 61966-2-1)."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def srgb_to_oklab(color: Tensor) -> Tensor:
    """[..., 3] display-referred to Oklab, in which equal steps look about equally large: lightness in [0, 1], then green to red, blue to
    yellow. Source: Bjoern Ottosson, "A perceptual color space for image processing", 2020.
    """
    cones = torch.tensor(_CONES, dtype=color.dtype, device=color.device)
    opponents = torch.tensor(_OPPONENTS, dtype=color.dtype, device=color.device)
    return (srgb_to_linear(color) @ cones.T).clamp_min(0).pow(1 / 3) @ opponents.T


_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_OPPONENTS = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
