"""Settings of the delivered mesh, its textures, and its placement."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import Fraction, Settings


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
    unwrap_seconds: Annotated[float, Field(ge=0, le=604_800)] = 120.0  # up to a week; 0 leaves xatlas out
    roughness: Fraction = 0.8
    metallic: Fraction = 0.0

    @model_validator(mode="after")
    def _room(self) -> TextureSettings:
        if 8 * self.padding > self.size:
            raise ValueError(
                f"padding is at most an eighth of size, or a cube's six charts do not fit (given {self.padding} and {self.size})"
            )
        return self


class AssetSettings(Settings):
    """The files: the size of the object in them, and of its preview."""

    # Metres, from a micrometre to a million kilometres. Previews and audit hold from 1e-10 to 1e19; beyond, float32's squares fail.
    longest_side: Annotated[float, Field(ge=1e-6, le=1e9)] = 1.0
    preview_size: Annotated[int, Field(ge=16, le=2048)] = 256  # pixels a side of each of the preview's pictures
