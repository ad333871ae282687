"""What a kind is built of: solids with the role their colour plays, and the one source of chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import torch

from tools.prior.shapes import Solid

T = TypeVar("T")
Rgb = tuple[float, float, float]


class Role(IntEnum):
    """Whose colour a part takes: the object's, its named part's, or one of its own."""

    MAIN = 0
    ACCENT = 1
    DETAIL = 2


@dataclass(frozen=True, eq=False)
class Part:
    """A solid and its colour: `tint` multiplies the main or accent colour, and is the colour itself of a detail (sRGB)."""

    solid: Solid
    role: Role
    tint: Rgb


class Draw:
    """Chance from one seeded torch.Generator on the CPU, handed down."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        """In [low, high)."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def near(self, value: float, share: float = 0.15) -> float:
        """`value`, up to `share` of it more or less."""
        return value * self.uniform(1 - share, 1 + share)

    def integer(self, low: int, high: int) -> int:
        """In low .. high, both included."""
        return low + int(torch.randint(high - low + 1, (), generator=self.generator))

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return self.uniform(0, 1) < share

    def pick(self, among: Sequence[T]) -> T:
        """One of them, evenly."""
        return among[self.integer(0, len(among) - 1)]


Build = Callable[[Draw], list[Part]]


@dataclass(frozen=True)
class Kind:
    """What the world knows of one kind of object.

    words     what it is called, the plain name first
    part      the noun of what takes the accent colour; `many` where it is plural
    natural   colours (words of captions.COLOURS) of the object and its part where the caption names none
    build     draws one
    carries   how much of the base's width a thing on top may take; 0 where nothing stands on it
    portable  whether it is put on others
    sided     whether front, side and back can be distinguished; no view is asked of the others
    """

    words: tuple[str, ...]
    part: str
    many: bool
    natural: tuple[str, str]
    build: Build
    carries: float = 0.0
    portable: bool = False
    sided: bool = True


def main(solid: Solid, shade: float = 1.0) -> Part:
    """In the object's colour, darkened by `shade`."""
    return Part(solid, Role.MAIN, (shade, shade, shade))


def accent(solid: Solid, shade: float = 1.0) -> Part:
    """In the named part's colour."""
    return Part(solid, Role.ACCENT, (shade, shade, shade))


def detail(solid: Solid, rgb: Rgb) -> Part:
    """In a colour of its own, whatever the caption names."""
    return Part(solid, Role.DETAIL, rgb)


def around(count: int, make: Callable[[float], T], start: float = 0.0) -> list[T]:
    """`make` of `count` angles in degrees, evenly around."""
    return [make(start + 360.0 * i / count) for i in range(count)]


def on_circle(degrees: float, radius: float) -> tuple[float, float]:
    """(x, z) at an angle from +Z towards +X."""
    return radius * math.sin(math.radians(degrees)), radius * math.cos(math.radians(degrees))


BLACK: Rgb = (0.07, 0.07, 0.08)
DARK: Rgb = (0.2, 0.2, 0.22)
WHITE: Rgb = (0.95, 0.95, 0.95)
WOOD: Rgb = (0.5, 0.33, 0.17)
GLASS: Rgb = (0.35, 0.5, 0.6)
GOLD: Rgb = (0.9, 0.72, 0.2)
SKIN: Rgb = (0.9, 0.7, 0.55)
GREEN: Rgb = (0.25, 0.55, 0.2)
IRON: Rgb = (0.55, 0.57, 0.6)
