"""From a prompt's words to what its surfaces are made of: roughness and metallic, part by part where the words name parts.

Sources of the numbers: Roblox, "Material reference" (create.roblox.com/docs/art/modeling/material-reference), whose ranges' middles these
are where it has the material (plastic, rubber, wood, cotton, silk, leather, bone, wax, marble, pure and worn metals); the rest lies between
them by likeness. Metals are metallic and nothing else is. Colours are what the words are painted with, sRGB, for finding parts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.records import srgb_to_oklab

Rgb = tuple[int, int, int]


class Finish(NamedTuple):
    """Roughness and metallic of glTF's metallic-roughness model, each in [0, 1]."""

    roughness: float
    metallic: float


@dataclass(frozen=True)
class Part:
    """A phrase of the prompt that is told from the others by its colour, sRGB."""

    words: str
    color: Rgb
    finish: Finish


@dataclass(frozen=True)
class Finishes:
    """What a prompt's words say of finishes.

    base      of the main phrase, for the whole surface where there are no parts
    parts     the main phrase and those that differ from it, where colours tell them apart; else none
    warnings  lines for the user
    """

    base: Finish
    parts: tuple[Part, ...] = ()
    warnings: tuple[str, ...] = ()


PLAIN = Finish(0.8, 0.0)  # where words say nothing


class _Material(NamedTuple):
    words: str
    roughness: float
    metallic: float
    color: Rgb | None


_MATERIALS = (
    _Material("gold golden gilded", 0.25, 1, (212, 175, 55)),
    _Material("silver", 0.25, 1, (192, 192, 192)),
    _Material("copper", 0.3, 1, (184, 115, 51)),
    _Material("bronze brass", 0.3, 1, (190, 140, 60)),
    _Material("chrome", 0.1, 1, (190, 192, 196)),
    _Material("steel aluminium aluminum tin", 0.3, 1, (150, 152, 155)),
    _Material("metal metallic iron", 0.4, 1, (135, 135, 138)),
    _Material("wooden wood timber oak bamboo wicker", 0.7, 0, (139, 94, 52)),
    _Material("stone rock granite cobblestone", 0.85, 0, (135, 132, 128)),
    _Material("concrete cement", 0.9, 0, (160, 158, 154)),
    _Material("brick bricks terracotta", 0.9, 0, (165, 78, 58)),
    _Material("marble", 0.375, 0, (232, 230, 226)),
    _Material("glass crystal", 0.05, 0, None),
    _Material("ice icy", 0.1, 0, (200, 225, 240)),
    _Material("jade", 0.15, 0, (60, 140, 100)),
    _Material("silk satin", 0.5, 0, None),
    _Material("cloth fabric cotton canvas denim linen", 0.85, 0, None),
    _Material("wool woolen woollen knitted felt velvet plush fur furry fluffy", 0.95, 0, None),
    _Material("leather", 0.5, 0, (110, 70, 42)),
    _Material("plastic", 0.4, 0, None),
    _Material("rubber", 0.55, 0, None),
    _Material("ceramic glazed", 0.2, 0, None),
    _Material("porcelain china", 0.1, 0, (240, 240, 238)),
    _Material("paper cardboard origami", 0.9, 0, None),
    _Material("clay", 0.85, 0, None),
    _Material("wax", 0.38, 0, None),
    _Material("bone ivory", 0.5, 0, (228, 218, 195)),
)
_SHEENS = dict.fromkeys(("polished", "glossy"), 0.15) | dict.fromkeys(("shiny", "lacquered", "wet"), 0.2)
_SHEENS |= dict.fromkeys(("matte", "matt", "rough", "dull"), 0.9)
_RUST = Finish(0.85, 0.2)  # rust is an oxide, which is no metal, over some that is left
_COLORS: Mapping[str, Rgb] = MappingProxyType({
    "red": (205, 35, 30), "scarlet": (205, 35, 30), "crimson": (175, 20, 45), "orange": (240, 128, 25), "yellow": (242, 214, 40),
    "green": (45, 150, 55), "turquoise": (40, 190, 190), "cyan": (40, 190, 190), "teal": (15, 125, 125), "blue": (35, 75, 210),
    "navy": (20, 30, 95), "purple": (125, 45, 175), "violet": (125, 45, 175), "magenta": (215, 40, 165), "pink": (245, 135, 180),
    "brown": (115, 70, 35), "beige": (222, 205, 170), "white": (238, 238, 238), "grey": (133, 133, 135), "gray": (133, 133, 135),
    "black": (25, 25, 27),
})  # fmt: skip
_MATERIAL_OF = {word: material for material in _MATERIALS for word in material.words.split()}
_PHRASES = re.compile(r"\b(?:with|and|on|in|under|beside|holding|wearing)\b|,|;")
_CLEARLY = 0.1  # between the colours of two parts, in Oklab with half its lightness


def telling_space(colors: Tensor) -> Tensor:
    """Colours [N, 3] (sRGB in [0, 1]) in a space in which parts are told apart: Oklab with half its lightness, which shade changes, too."""
    return srgb_to_oklab(colors) * torch.tensor([0.5, 1.0, 1.0], device=colors.device)


class _Phrase(NamedTuple):
    words: str
    color: Rgb | None
    finish: Finish


def finishes_of(prompt: str, texture: TextureSettings) -> Finishes:
    """What the prompt's words say of roughness and metallic; numbers in the settings stand for the whole surface, whatever it says.

    Phrases are parted by "with", "and", "on" and the like: "a wooden table with golden legs" has a wooden base and golden parts, which
    are looked for by their colours, those of the material where none is named.
    """
    found = [_phrase(words.strip()) for words in _PHRASES.split(prompt.lower())]
    fixed = {key: float(value) for key in Finish._fields if (value := getattr(texture, key)) != "auto"}
    phrases = [phrase._replace(finish=phrase.finish._replace(**fixed)) for phrase in found if phrase.words]
    base = phrases[0].finish if phrases else PLAIN._replace(**fixed)
    others = [phrase for phrase in phrases[1:] if phrase.finish != base and (phrase.color or phrase.finish != PLAIN._replace(**fixed))]
    if not others:
        return Finishes(base)
    named = [phrases[0], *others]
    parts = tuple(Part(phrase.words, phrase.color, phrase.finish) for phrase in named if phrase.color)
    unclear = _unclear(named)
    if unclear:
        return Finishes(base, (), (f"texture: {unclear}; roughness {base.roughness:g} and metallic {base.metallic:g} are used for all",))
    return Finishes(base, parts)


def _phrase(text: str) -> _Phrase:
    words = re.findall(r"[a-z]+", text)
    materials = [_MATERIAL_OF[word] for word in words if word in _MATERIAL_OF]
    sheen = [_SHEENS[word] for word in words if word in _SHEENS]
    color = next((_COLORS[word] for word in words if word in _COLORS), materials[0].color if materials else None)
    finish = Finish(materials[0].roughness, float(materials[0].metallic)) if materials else PLAIN
    if "rusty" in words or "rusted" in words:
        finish = _RUST
    return _Phrase(text, color, finish._replace(roughness=sheen[0]) if sheen else finish)


def _unclear(phrases: list[_Phrase]) -> str:
    """Why the phrases' parts cannot be found by their colours; empty where they can."""
    for phrase in phrases:
        if phrase.color is None:
            return f"no colour tells where {phrase.words!r} is"
    for index, one in enumerate(phrases):
        for other in phrases[index + 1 :]:
            placed = telling_space(torch.tensor([one.color, other.color]) / 255)
            if one.finish != other.finish and float((placed[0] - placed[1]).norm()) < _CLEARLY:
                return f"the colours of {one.words!r} and {other.words!r} are too alike to tell them apart"
    return ""
