"""Settings of the delivered mesh, its textures, and its placement."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.base import Fraction, Settings


class MeshSettings(Settings):
    """From the refined surface to the delivered triangles."""

    triangles: Annotated[int, Field(ge=50, le=5_000_000)] = 10_000
    max_bytes: Annotated[int, Field(ge=20_000, le=2**32 - 1)] | None = None  # of the whole GLB; maps shrink before triangles
    max_deviation: Annotated[float, Field(ge=1e-5, le=1)] = 0.005  # Hausdorff distance that decimation aims to stay under, of the diagonal
    smooth: Annotated[int, Field(ge=0, le=100)] = 2  # Taubin passes before decimation
    smallest_part: Fraction = 0.02  # shells under this share of the faces are dropped
    repair: Literal["default", "meshlab"] = "default"  # meshlab: pymeshlab's filters first (GPL, extra [meshlab])
    remesh: Literal["none", "isotropic"] = "none"  # isotropic: pymeshlab's, before decimation (GPL, extra [meshlab])


class TextureSettings(Settings):
    """The texture maps: their size in texels, how they are unwrapped and baked, and the material's plain factors."""

    size: Literal[64, 128, 256, 512, 1024, 2048, 4096] = 1024
    padding: Annotated[int, Field(ge=0, le=64)] = 4  # texels; 2^k is safe to mip k
    supersample: Annotated[int, Field(ge=1, le=4)] = 2
    unwrap: Literal["auto", "xatlas", "uvunwrap", "box"] = "auto"
    unwrap_seconds: Annotated[float, Field(ge=0, le=604_800)] = 120.0  # of the whole unwrap, up to a week; 0: box, packed loosely
    denoise: Fraction = 0.5  # how much of the colour's grain, where the model says nothing, is smoothed away; 0: none
    normal_map: bool = True  # from the refined surface to the delivered triangles
    occlusion_rays: Annotated[int, Field(ge=0, le=1024)] = 64  # a texel; 0: no occlusion, which is written as 255
    roughness: Fraction | Literal["auto"] = "auto"  # auto: by the prompt's words for materials, else 0.8
    metallic: Fraction | Literal["auto"] = "auto"  # auto: by the prompt's words for materials, else 0

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
    # Metres, from a micrometre to a million kilometres. Previews and audit hold from 1e-10 to 1e19; beyond, float32's squares fail.
    longest_side: Annotated[float, Field(ge=1e-6, le=1e9)] = 1.0
    preview_size: Annotated[int, Field(ge=16, le=2048)] = 256  # pixels a side of each of the preview's pictures
    lods: Annotated[int, Field(ge=0, le=6)] = 2  # levels of detail below the asset itself, each with half the triangles
    msft_lod: bool = False  # the levels also inside the GLB, by the extension MSFT_lod
    collision_hulls: Annotated[int, Field(ge=0, le=64)] = 16  # at most; 0: no collision file
    collision_seconds: Annotated[float, Field(ge=0, le=604_800)] = 120.0  # of the decomposition; then what it has, or one hull a shell
    usdz: bool = False  # also write a USDZ (extra [usd])
