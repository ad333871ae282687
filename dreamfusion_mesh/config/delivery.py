"""Settings of the delivered mesh, its textures, and its placement."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dreamfusion_mesh.config.base import Fraction, Positive, Settings


class MeshSettings(Settings):
    """From the refined surface to the delivered triangles."""

    triangles: Annotated[int, Field(ge=50, le=5_000_000)] = 10_000
    smooth: Annotated[int, Field(ge=0, le=100)] = 2  # Taubin passes before decimation
    smallest_part: Fraction = 0.02  # shells under this share of the faces are dropped


class TextureSettings(Settings):
    """The texture maps: their size in texels, how they are unwrapped and baked, and the material's plain factors."""

    size: Literal[64, 128, 256, 512, 1024, 2048, 4096] = 1024
    padding: Annotated[int, Field(ge=0, le=64)] = 4  # texels; 2^k is safe to mip k
    supersample: Annotated[int, Field(ge=1, le=4)] = 2
    unwrap_seconds: Positive = 120.0
    roughness: Fraction = 0.8
    metallic: Fraction = 0.0


class AssetSettings(Settings):
    """The files: the size of the object in them, and of its preview."""

    longest_side: Positive = 1.0  # metres
    preview_size: Annotated[int, Field(ge=16, le=2048)] = 256  # pixels a side of each of the preview's pictures
