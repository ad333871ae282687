"""Assets to export: a surface with UVs, and textures of given pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from surfaces import SURFACES

from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.records import Asset, Mesh, TextureSet

PROVENANCE = {
    "prompt": 'a "red" mushroom, crème — 蘑菇',
    "seed": 7,
    "model": {"name": "embedded", "licence": "Apache-2.0", "weights": [1, 2]},
    "settings": {"coarse": {"steps": 3}},
    "long": "x" * 5000,
    "odd": float("nan"),
}


@lru_cache(maxsize=8)
def mapped(name: str) -> Mesh:
    return unwrap(SURFACES[name](), TextureSettings(size=256, padding=2)).mesh


def picture(seed: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def asset(name: str, maps: bool = False, title: str = "thing") -> Asset:
    normal = np.full((64, 64, 3), (128, 128, 255), dtype=np.uint8)
    textures = TextureSet(picture(0), picture(1), normal, 0.6, 0.9) if maps else TextureSet(picture(0), roughness=0.6, metallic=0.1)
    return Asset(title, mapped(name), textures, PROVENANCE)
