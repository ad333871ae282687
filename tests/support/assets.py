"""Assets to export: a surface with UVs, and maps of given pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from surfaces import SURFACES, cube

from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.records import Asset, Lod, Material, Mesh, TextureMap

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
    return Asset(title, mapped(name), material(maps), PROVENANCE)


def full_asset(title: str = "thing") -> Asset:
    """With every map, two levels of detail, of which the second has a material of its own, and two hulls, one beside the other."""
    finest, shift = material(True), torch.tensor([0.5, 0.0, 0.0])
    hulls = tuple(Mesh(cube().vertices * 0.5 + side * shift, cube().faces) for side in (-1, 1))
    lods = (Lod(mapped("sphere"), finest), Lod(mapped("cube"), material(True)))
    return Asset(title, mapped("torus"), finest, PROVENANCE, lods, hulls)


def material(maps: bool = False) -> Material:
    base_color = {"base_color": TextureMap(picture(0), "srgb")}
    if not maps:
        return Material(base_color, roughness_factor=0.6, metallic_factor=0.1)
    normal = TextureMap(np.full((64, 64, 3), (128, 128, 255), dtype=np.uint8), "linear")
    return Material({**base_color, "orm": TextureMap(picture(1), "linear"), "normal": normal}, roughness_factor=0.6, metallic_factor=0.9)
