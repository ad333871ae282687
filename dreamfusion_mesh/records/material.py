"""A material: named texture maps, each with the colour space of its values, and the factors that multiply them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

ColorSpace = Literal["srgb", "linear"]


@dataclass(frozen=True)
class MapRole:
    """What a map of one role has to be: its number of channels, and the colour space of its values."""

    channels: int
    color_space: ColorSpace


ROLES: Mapping[str, MapRole] = MappingProxyType({
    "base_color": MapRole(3, "srgb"),
    "orm": MapRole(3, "linear"),  # glTF's packing: R occlusion, G roughness, B metallic
    "normal": MapRole(3, "linear"),  # tangent space, +Y (OpenGL), in the MikkTSpace basis
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class TextureMap:
    """One map over the UV square.

    pixels       [H, W, C] uint8, row 0 at v = 1
    color_space  "srgb" (display-referred) or "linear" (light, or plain data)
    """

    pixels: np.ndarray
    color_space: ColorSpace

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or 0 in self.pixels.shape:
            raise ValueError(f"TextureMap.pixels: {self.pixels.dtype} {list(self.pixels.shape)}, expected uint8 [H, W, C], none of them 0")
        if self.color_space not in ("srgb", "linear"):
            raise ValueError(f"TextureMap.color_space: {self.color_space!r}, expected 'srgb' or 'linear'")


@dataclass(frozen=True, eq=False)
class Material:
    """A metallic-roughness material (glTF 2.0, section 3.9.2).

    maps                by role, in any order; see ROLES for what each has to be; base_color is always there
    base_color_factor   linear RGB in [0, 1], times the base colour map made linear
    roughness_factor    in [0, 1], times the orm map's G, or alone where there is none
    metallic_factor     in [0, 1], times the orm map's B, or alone where there is none
    """

    maps: Mapping[str, TextureMap]
    roughness_factor: float
    metallic_factor: float
    base_color_factor: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if "base_color" not in self.maps:
            raise ValueError(f"Material.maps: {sorted(self.maps)}, expected a base_color map among them")
        for role, image in self.maps.items():
            _check_map(role, image)
        factors = (self.roughness_factor, self.metallic_factor, *self.base_color_factor)
        if len(factors) != 5 or not all(0 <= factor <= 1 for factor in factors):
            raise ValueError(f"Material: factors {factors}, expected roughness, metallic and three of the base colour in [0, 1]")
        object.__setattr__(self, "maps", MappingProxyType({role: self.maps[role] for role in ROLES if role in self.maps}))


def _check_map(role: str, image: TextureMap) -> None:
    wanted = ROLES.get(role)
    if wanted is None:
        raise ValueError(f"Material.maps: unknown role {role!r}, expected one of {', '.join(ROLES)}")
    channels = image.pixels.shape[2]
    if (channels, image.color_space) != (wanted.channels, wanted.color_space):
        expected = f"{wanted.channels} in {wanted.color_space}"
        raise ValueError(f"Material.maps[{role!r}]: {channels} channels in {image.color_space}, expected {expected}")
