"""Texture maps of one material, and the factors that multiply them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class TextureSet:
    """Textures of one material, row 0 on top, as 8-bit images, plus the factors that multiply them.

    base_color  [S, S, 3] uint8   sRGB
    orm         [S, S, 3] uint8   linear; R occlusion, G roughness, B metallic; None where the factors alone hold
    normal      [S, S, 3] uint8   linear, +Y (OpenGL) tangent space; None where the surface is not mapped
    """

    base_color: np.ndarray
    orm: np.ndarray | None = None
    normal: np.ndarray | None = None
    roughness: float = 0.8
    metallic: float = 0.0

    def __post_init__(self) -> None:
        for name in ("base_color", "orm", "normal"):
            image = getattr(self, name)
            if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3):
                raise ValueError(f"TextureSet.{name}: {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3]")
