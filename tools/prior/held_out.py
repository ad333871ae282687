"""The prompts that training never sees, and the rule that keeps them out: `python -m tools.prior.held_out` writes held_out.csv anew.

Held out is every (kind, colour, part's colour) that the upper thing of a prompt in held_out.csv shows: no scene drawn for training, of
whatever finish, size or place, and in whatever words, holds a thing that looks so. The other columns are what a prompt asks for (asked.py),
as `dreamfusion-mesh evaluate --prompts` reads them.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import torch

from tools.prior.captions import COLOURS, FINISHES, SIZES, Scene, Thing, parse, phrase_of
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw

FILE = Path(__file__).with_name("held_out.csv")


@lru_cache(maxsize=1)
def prompts() -> tuple[str, ...]:
    """The 153 prompts, in the file's order."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(row["prompt"] for row in csv.DictReader(lines))


@lru_cache(maxsize=1)
def looks() -> frozenset[tuple[str, str, str]]:
    """The (kind, colour, part's colour) that are held out."""
    return frozenset(parse(prompt).scene.thing.seen() for prompt in prompts())


def allowed(scene: Scene) -> bool:
    """Whether training may see the scene."""
    return not any(thing.seen() in looks() for thing in scene.things())


def draw_prompts(seed: int) -> list[str]:
    """Three prompts of each kind: with a part, with a part and a finish, and upon something or of a size. How the file was made: seed 4."""
    draw, made = Draw(torch.Generator().manual_seed(seed)), []
    bases = [name for name, kind in KINDS.items() if kind.carries]
    for name, kind in KINDS.items():
        used = {Thing(name).seen(), *(Thing(name, finish=finish).seen() for finish in FINISHES)}
        for form in range(3):
            while True:
                colour, part = draw.pick(list(COLOURS)), draw.pick(list(COLOURS))
                thing = Thing(name, colour, part if form < 2 else None, draw.pick(list(FINISHES)) if form == 1 else None)
                if colour != part and thing.seen() not in used:
                    break
            used.add(thing.seen())
            base = (
                Thing(draw.pick(bases), draw.pick([other for other in COLOURS if other != colour])) if form == 2 and kind.portable else None
            )
            if form == 2 and base is None:
                thing = Thing(name, colour, size=draw.pick(list(SIZES)))
            made.append(phrase_of(Scene(thing, base)))
    return made


def main() -> None:
    """Write the file anew."""
    from tools.prior.asked import asked, table  # the world it takes keeps out what is held out here

    FILE.write_text(table([asked(prompt) for prompt in draw_prompts(seed=4)]), encoding="utf-8")


if __name__ == "__main__":
    main()
