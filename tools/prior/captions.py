"""The grammar of captions, both ways: what a scene shows <-> its caption.

    phrase  = [article] [size] [finish] [colour] [finish] noun ["with" [article] colour (part | "parts")]
    caption = phrase ["on" phrase] view

A render without texture is captioned as score distillation words it: `textureless_words` around the phrase with its colours taken out
(dreamfusion_mesh.guidance.prompts), so its phrases may name parts without colours. Every table has the plain word first, then synonyms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, textureless_prompt
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw, Rgb

COLOURS: dict[str, Rgb] = {
    "red": (0.85, 0.12, 0.1),
    "orange": (0.96, 0.5, 0.08),
    "yellow": (0.96, 0.85, 0.15),
    "green": (0.16, 0.6, 0.2),
    "turquoise": (0.15, 0.75, 0.75),
    "blue": (0.12, 0.28, 0.85),
    "purple": (0.5, 0.18, 0.7),
    "pink": (0.97, 0.5, 0.7),
    "brown": (0.45, 0.27, 0.13),
    "white": (0.93, 0.93, 0.93),
    "grey": (0.52, 0.52, 0.54),
    "black": (0.1, 0.1, 0.11),
}
_COLOUR_WORDS: dict[str, tuple[str, ...]] = {name: (name,) for name in COLOURS} | {
    "grey": ("grey", "gray"),
    "turquoise": ("turquoise", "cyan"),
    "purple": ("purple", "violet"),
}
FINISHES: dict[str, tuple[str, ...]] = {
    "wooden": ("wooden",),
    "metal": ("metal", "metallic"),
    "stone": ("stone",),
    "striped": ("striped", "stripy"),
    "spotted": ("spotted", "dotted"),
    "checkered": ("checkered", "chequered"),
}
SIZES: dict[str, tuple[str, ...]] = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
# A material without a colour has one of its own.
MATERIAL_COLOURS = {"wooden": "brown", "metal": "grey", "stone": "grey"}
_ARTICLES = ("a", "an", "the")
_ANY_PART = "parts"
_FIXED = ("with", "on", "clay", "grey", *re.findall(r"\w+", " ".join(VIEW_SUFFIXES)))


@dataclass(frozen=True)
class Thing:
    """One object as a caption names it, in the plain words of the tables above; None where the caption leaves something out.

    part   colour of the kind's part, named so or as "parts"
    """

    kind: str
    colour: str | None = None
    part: str | None = None
    finish: str | None = None
    size: str | None = None

    def seen(self) -> tuple[str, str, str]:
        """What it looks like, named or not: (kind, colour, part's colour). An unnamed part is as in nature, or like the whole."""
        main, part = KINDS[self.kind].natural
        colour = self.colour or MATERIAL_COLOURS.get(self.finish or "", main)
        return self.kind, colour, self.part or (colour if part == main else part)

    def bare(self) -> Thing:
        """Without its colours, as the clay caption has it."""
        return replace(self, colour=None, part=None)


@dataclass(frozen=True)
class Scene:
    """A thing, perhaps on another."""

    thing: Thing
    base: Thing | None = None

    def things(self) -> list[Thing]:
        """Both, the upper first."""
        return [self.thing] if self.base is None else [self.thing, self.base]

    def bare(self) -> Scene:
        """Without colours."""
        return Scene(self.thing.bare(), None if self.base is None else self.base.bare())


@dataclass(frozen=True)
class Caption:
    """The contents of a caption. view: row of VIEW_SUFFIXES, None where none is named; clay: the textureless state."""

    scene: Scene
    view: int | None
    clay: bool


def phrase_of(scene: Scene, draw: Draw | None = None) -> str:
    """The scene in words, without a view; plain words and "a" or "an" without `draw`, else synonyms, articles and orders as they fall."""
    return " on ".join(_thing_words(thing, draw) for thing in scene.things())


def caption_of(phrase: str, view: int, clay: bool) -> str:
    """The words an image of `phrase` is trained under, exactly as guidance words them for SDS; `view` is a row of VIEW_SUFFIXES."""
    return (textureless_prompt(GuidanceSettings().textureless_words, phrase) if clay else phrase) + VIEW_SUFFIXES[view]


def _thing_words(thing: Thing, draw: Draw | None) -> str:
    kind = KINDS[thing.kind]
    size = [SIZES[thing.size]] if thing.size else []
    look = [_COLOUR_WORDS[thing.colour]] if thing.colour else []
    if thing.finish:
        look.insert(0 if draw is None or draw.chance(0.5) else len(look), FINISHES[thing.finish])
    words = " ".join(_one(names, draw) for names in (*size, *look, kind.words))
    article = "a" if draw is None or draw.chance(0.85) else draw.pick(["the", "", "a"])
    text = _with_article(article, words)
    if thing.part is None:
        return text
    colour = _one(_COLOUR_WORDS[thing.part], draw)
    if draw is not None and draw.chance(0.35):
        return f"{text} with {colour} {_ANY_PART}"
    part = f"{colour} {kind.part}"
    return f"{text} with {part if kind.many else _with_article('a', part)}"


def _one(names: tuple[str, ...], draw: Draw | None) -> str:
    """The plain name, or now and then another."""
    return names[0] if draw is None or len(names) == 1 or draw.chance(0.6) else draw.pick(names[1:])


def _with_article(article: str, words: str) -> str:
    if article == "a" and words[0] in "aeiou":
        article = "an"
    return f"{article} {words}".strip()


def _names(table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {word: name for name, words in table.items() for word in words}


_KIND_OF = {word: name for name, kind in KINDS.items() for word in kind.words}
_COLOUR_OF, _FINISH_OF, _SIZE_OF = _names(_COLOUR_WORDS), _names(FINISHES), _names(SIZES)


def kind_words() -> dict[str, int]:
    """Every word for a kind, and the kind's row in KINDS."""
    rows = {name: row for row, name in enumerate(KINDS)}
    return {word: rows[name] for word, name in _KIND_OF.items()}


def vocabulary() -> list[str]:
    """Every word a caption may hold, and the comma, sorted."""
    parts = {kind.part for kind in KINDS.values()}
    return sorted({",", *_ARTICLES, *_FIXED, *_KIND_OF, *_COLOUR_OF, *_FINISH_OF, *_SIZE_OF, *parts, _ANY_PART})


def parse(caption: str) -> Caption:
    """The contents of a caption of this grammar, with or without a view. Raises ValueError naming the word that does not fit."""
    view = next((row for row, suffix in enumerate(VIEW_SUFFIXES) if caption.endswith(suffix)), None)
    words = (caption if view is None else caption.removesuffix(VIEW_SUFFIXES[view])).split()
    clay = words[:3] == ["a", "grey", "clay"]
    left = words[3:] if clay else words
    thing = _take_thing(left, caption)
    base = None
    if left:
        if left.pop(0) != "on":
            raise ValueError(f"{caption!r}: expected 'on' or the end after {KINDS[thing.kind].words[0]!r}")
        base = _take_thing(left, caption)
    if left:
        raise ValueError(f"{caption!r}: {left[0]!r} follows the end")
    return Caption(Scene(thing, base), view, clay)


def _take_thing(left: list[str], caption: str) -> Thing:
    """Takes one thing off the front of `left`."""
    named: dict[str, str] = {}
    if left and left[0] in _ARTICLES:
        left.pop(0)
    while left and left[0] not in _KIND_OF:
        word = left.pop(0)
        for what, table in (("size", _SIZE_OF), ("finish", _FINISH_OF), ("colour", _COLOUR_OF)):
            if word in table:
                if what in named:
                    raise ValueError(f"{caption!r}: a second {what}, {word!r}")
                named[what] = table[word]
                break
        else:
            raise ValueError(f"{caption!r}: {word!r} is no size, finish, colour or kind")
    if not left:
        raise ValueError(f"{caption!r}: no kind is named")
    kind = _KIND_OF[left.pop(0)]
    if left and left[0] == "with":
        return Thing(kind, part=_take_part(left, kind, caption), **named)
    return Thing(kind, **named)


def _take_part(left: list[str], kind: str, caption: str) -> str | None:
    """Takes "with" and the part off the front of `left`; its colour, None where none is named."""
    del left[0]
    if left and left[0] in _ARTICLES:
        left.pop(0)
    colour = _COLOUR_OF[left.pop(0)] if left and left[0] in _COLOUR_OF else None
    if not left or left.pop(0) not in (KINDS[kind].part, _ANY_PART):
        raise ValueError(f"{caption!r}: the part of a {kind} is its {KINDS[kind].part!r}")
    return colour
