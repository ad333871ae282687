"""What the words of a prompt ask for, as `dreamfusion-mesh evaluate` takes it, from the world itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import cache

import manifold3d
import numpy as np
import torch

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.evaluate.prompts import COLUMNS
from dreamfusion_mesh.evaluate.records import Prompt
from dreamfusion_mesh.guidance.prompts import textureless_prompt
from tools.prior.captions import Scene, Thing, parse, phrase_of
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw
from tools.prior.shapes import Solid
from tools.prior.world import solids

DRAWS = 8


def asked(text: str) -> Prompt:
    """What a prompt of the captions' grammar asks for. Raises ValueError for another.

    shape  the upper thing's kind alone, as the judge's card has it: parts, finishes and sizes are not what clay is recognised by
    front  whether the upper thing's sides can be distinguished
    parts  separate solids of each thing, added up: to stand on one another is not to be one
    holes  through the union of all solids
    The last two are None where DRAWS scenes drawn at random do not agree.
    """
    scene = parse(text).scene
    upper, *below = [Thing(thing.kind, size=thing.size) for thing in scene.things()]
    parts, holes = _counts(Scene(upper, *below))
    shape = textureless_prompt(GuidanceSettings().textureless_words, phrase_of(Scene(Thing(scene.thing.kind))))
    return Prompt(text, shape, KINDS[scene.thing.kind].sided, parts, holes)


@cache
def _counts(scene: Scene) -> tuple[int | None, int | None]:
    """Parts and holes, None where draws disagree."""
    found = [count(solids(scene, Draw(torch.Generator().manual_seed(seed)))) for seed in range(DRAWS)]
    parts, holes = (set(each) for each in zip(*found, strict=True))
    return (parts.pop() if len(parts) == 1 else None), (holes.pop() if len(holes) == 1 else None)


def count(things: Sequence[Sequence[Solid]]) -> tuple[int, int]:
    """Separate solids of each thing, added up, and holes through the union of all. Hollows that are closed count as neither."""
    unions = [_union([_manifold(solid) for solid in thing]) for thing in things]
    parts = sum(len(_shells(union)) for union in unions)
    return parts, sum(shell.genus() for shell in _shells(_union(unions)))


def _shells(solid: manifold3d.Manifold) -> list[manifold3d.Manifold]:
    """The connected surfaces that look outward."""
    return [shell for shell in solid.decompose() if shell.volume() > 0]


def _union(these: list[manifold3d.Manifold]) -> manifold3d.Manifold:
    return manifold3d.Manifold.batch_boolean(these, manifold3d.OpType.Add)


def _manifold(solid: Solid) -> manifold3d.Manifold:
    made = manifold3d.Manifold(manifold3d.Mesh64(solid.vertices, solid.faces.astype(np.uint64)))
    if made.status() != manifold3d.Error.NoError:
        raise ValueError(f"a solid of the world is not closed ({made.status().name})")
    return made


def table(prompts: Sequence[Prompt]) -> str:
    """Prompts as the CSV that `read_prompts` reads; None is an empty cell."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    for prompt in prompts:
        front = None if prompt.front is None else "yes" if prompt.front else "no"
        writer.writerow((prompt.text, prompt.shape, front, prompt.parts, prompt.holes))
    return lines.getvalue()
