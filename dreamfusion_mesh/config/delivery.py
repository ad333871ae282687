"""Settings of the delivered mesh, its textures, and its placement."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import Fraction, Settings


class MeshSettings(Settings):
    """From the refined surface to the delivered triangles."""

    triangles: Annotated[int, Field(ge=50, le=5_000_000)] = 10_000
    """Triangles of the delivered mesh, at most."""
    max_bytes: Annotated[int, Field(ge=20_000, le=2**32 - 1)] | None = None
    """Bytes of the whole GLB, at most; maps shrink before triangles."""
    max_deviation: Annotated[float, Field(ge=1e-5, le=1)] = 0.005
    """Hausdorff distance that decimation aims to stay under, as a share of the diagonal."""
    smooth: Annotated[int, Field(ge=0, le=100)] = 2
    """Taubin's passes before decimation."""
    smallest_part: Fraction = 0.02
    """Shells under this share of the faces are dropped."""
    repair: Literal["default", "meshlab"] = "default"
    """meshlab: pymeshlab's filters first (GPL, extra [meshlab])."""
    remesh: Literal["none", "isotropic"] = "none"
    """isotropic: pymeshlab's, before decimation (GPL, extra [meshlab])."""


class TextureSettings(Settings):
    """The texture maps: their size in texels, how they are unwrapped and baked, and the material's plain factors."""

    size: Literal[64, 128, 256, 512, 1024, 2048, 4096] = 1024
    """Texels along a side of each map."""
    padding: Annotated[int, Field(ge=0, le=64)] = 4
    """Texels around each chart; 2^k is safe to mip k."""
    supersample: Annotated[int, Field(ge=1, le=4)] = 2
    """Samples along a side of each texel."""
    unwrap: Literal["auto", "xatlas", "uvunwrap", "box"] = "auto"
    """Which program cuts and lays out the charts; auto: uvunwrap, where that fails xatlas, and at last a box."""
    unwrap_seconds: Annotated[float, Field(ge=0, le=604_800)] = 120.0
    """Seconds of the whole unwrap, up to a week; 0: box, packed loosely."""
    denoise: Fraction = 0.5
    """How much of the colour's grain, where the model says nothing, is smoothed away; 0: none."""
    normal_map: bool = True
    """Bake a normal map from the refined surface to the delivered triangles."""
    occlusion_rays: Annotated[int, Field(ge=0, le=1024)] = 64
    """Rays a texel; 0: no occlusion, which is written as 255."""
    roughness: Fraction | Literal["auto"] = "auto"
    """Roughness of the material; auto: by the prompt's words for materials, else 0.8."""
    metallic: Fraction | Literal["auto"] = "auto"
    """How metallic the material is; auto: by the prompt's words for materials, else 0."""

    @model_validator(mode="after")
    def _room(self) -> TextureSettings:
        if 8 * self.padding > self.size:
            raise ValueError(
                f"padding is at most an eighth of size, or a cube's six charts do not fit (given {self.padding} and {self.size})"
            )
        return self


class AssetSettings(Settings):
    """The files: for which engine, what is in them, the size of the object and of its preview."""

    engine: Literal["generic", "unreal", "unity", "godot"] = "generic"
    """Whose names and axes the files have."""
    longest_side: Annotated[float, Field(ge=1e-6, le=1e9)] = 1.0
    """Metres of the longest side, from a micrometre to a million kilometres."""
    preview_size: Annotated[int, Field(ge=16, le=2048)] = 256
    """Pixels a side of each of the preview's pictures."""
    lods: Annotated[int, Field(ge=0, le=6)] = 2
    """Levels of detail below the asset itself, each with half the triangles."""
    msft_lod: bool = False
    """The levels also inside the GLB, by the extension MSFT_lod."""
    collision_hulls: Annotated[int, Field(ge=0, le=64)] = 16
    """Hulls at most; 0: no collision file."""
    collision_seconds: Annotated[float, Field(ge=0, le=604_800)] = 120.0
    """Seconds of the decomposition; then what it has, or one hull a shell."""
    usdz: bool = False
    """Also write a USDZ (extra [usd])."""
    video: bool = False
    """Also write the turntable as MP4 (extra [video])."""
