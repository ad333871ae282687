"""Scenes drawn at random and built as triangles, each corner with what the renderer needs of it.

Every object is centred and about 1.4 across: the longest side of its box is at most LONGEST and all of it lies within RADIUS of the
origin, so that every view of the project's cameras holds it whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tools.prior.captions import COLOURS, FINISHES, SIZES, Scene, Thing, phrase_of
from tools.prior.held_out import allowed
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw, Part, Role
from tools.prior.shapes import Array, Solid, corner_normals

LONGEST = 1.4
RADIUS = 0.83
_SIZE = {None: (0.84, 0.95), "small": (0.5, 0.62), "large": (0.99, 1.0)}  # shares of the most that fits
_MATERIALS = ("wooden", "metal", "stone")  # their parts are of the same stuff


@dataclass(frozen=True, eq=False)
class Built:
    """A scene as triangles; corners are not shared, so that colours and creases are sharp.

    phrase   its caption, without a view
    corners  [F, 3, 3]  positions
    normals  [F, 3, 3]  unit
    colour   [F, 3]     sRGB
    finish   [F] int64  row of FINISHES, -1 where the face is plain
    seed     of the finish's pattern
    """

    phrase: str
    scene: Scene
    corners: Tensor
    normals: Tensor
    colour: Tensor
    finish: Tensor
    seed: int


def draw_scene(draw: Draw, everything: bool = False) -> Scene:
    """A scene that training may see, or any with `everything`; all kinds and colours alike often."""
    while True:
        thing = _draw_thing(draw, draw.pick(list(KINDS)))
        base = None
        if KINDS[thing.kind].portable and draw.chance(0.15):
            base = _draw_thing(draw, draw.pick([name for name, kind in KINDS.items() if kind.carries]), plain=True)
        scene = Scene(thing, base)
        if everything or allowed(scene):
            return scene


def _draw_thing(draw: Draw, kind: str, plain: bool = False) -> Thing:
    colour = draw.pick(list(COLOURS)) if draw.chance(0.93) else None
    part = draw.pick([name for name in COLOURS if name != colour]) if colour and draw.chance(0.1 if plain else 0.45) else None
    finish = draw.pick(list(FINISHES)) if draw.chance(0.15 if plain else 0.35) else None
    size = draw.pick(list(SIZES)) if draw.chance(0.1 if plain else 0.15) else None
    return Thing(kind, colour, part, finish, size)


def build(scene: Scene, draw: Draw) -> Built:
    """The scene with its proportions, shades and words drawn at random."""
    placed = _placed(scene, draw)
    every = np.concatenate([corners for corners, _ in placed])
    middle = (every.min((0, 1)) + every.max((0, 1))) / 2
    size = None if scene.base is not None and scene.thing.size else scene.things()[-1].size
    scale = _room(every - middle) * draw.uniform(*_SIZE[size])
    looks = [_look(thing, parts, draw) for thing, (_, parts) in zip(scene.things(), placed, strict=True)]
    return Built(
        phrase_of(scene, draw),
        scene,
        torch.from_numpy((every - middle) * scale).float(),
        torch.from_numpy(np.concatenate([_normals(parts) for _, parts in placed])).float(),
        torch.from_numpy(np.concatenate([colour for colour, _ in looks])).float(),
        torch.from_numpy(np.concatenate([finish for _, finish in looks])),
        draw.integer(0, 2**31 - 1),
    )


def solids(scene: Scene, draw: Draw) -> list[list[Solid]]:
    """The solids of each thing of the scene, the upper one's first, where they stand; proportions drawn at random."""
    return [[part.solid.with_corners(at) for part, at in _by_part(corners, parts)] for corners, parts in _placed(scene, draw)]


def _by_part(corners: Array, parts: list[Part]) -> list[tuple[Part, Array]]:
    ends = np.cumsum([len(part.solid.faces) for part in parts])
    return list(zip(parts, np.split(corners, ends[:-1]), strict=True))


def _placed(scene: Scene, draw: Draw) -> list[tuple[Array, list[Part]]]:
    """Corners [F, 3, 3] and parts of each thing, the upper first and upon the other."""
    placed = [_place(KINDS[thing.kind].build(draw)) for thing in scene.things()]
    return placed if scene.base is None else [_put_on(placed[0], placed[1], scene, draw), placed[1]]


def _place(parts: list[Part]) -> tuple[Array, list[Part]]:
    """Corners [F, 3, 3] with the box's middle at x = z = 0 and its floor at y = 0, the size that fits alone."""
    corners = np.concatenate([part.solid.vertices[part.solid.faces] for part in parts])
    low, high = corners.min((0, 1)), corners.max((0, 1))
    middle = (low + high) / 2
    scale = _room(corners - middle)
    return (corners - [middle[0], low[1], middle[2]]) * scale, parts


def _room(corners: Array) -> float:
    """The factor by which centred corners grow to just fit."""
    extent = np.ptp(corners, (0, 1)).max() if len(corners) else 1.0
    return float(min(LONGEST / extent, RADIUS / np.linalg.norm(corners, axis=-1).max()))


def _put_on(upper: tuple[Array, list[Part]], base: tuple[Array, list[Part]], scene: Scene, draw: Draw) -> tuple[Array, list[Part]]:
    assert scene.base is not None
    corners, parts = upper
    wide = min(np.ptp(base[0], (0, 1))[[0, 2]]) * KINDS[scene.base.kind].carries
    relative = {None: 1.15, "small": 0.75, "large": 1.45}
    size = wide / max(np.ptp(corners, (0, 1))[[0, 2]]) * relative[scene.thing.size] / relative[scene.base.size] * 1.5
    most = 1.2 / np.ptp(corners, (0, 1))[1]
    scale = min(size, most) * draw.uniform(0.9, 1.05)
    return corners * scale + [0, base[0][..., 1].max() - 0.005, 0], parts


def _normals(parts: list[Part]) -> Array:
    return np.concatenate([corner_normals(part.solid.vertices, part.solid.faces) for part in parts])


def _look(thing: Thing, parts: list[Part], draw: Draw) -> tuple[Array, Array]:
    """Colour [F, 3] and finish [F] of a thing's faces; a colour is never twice quite the same."""
    _, main, accent = thing.seen()
    stray = [np.array([draw.uniform(-0.05, 0.05) for _ in range(3)]) for _ in range(2)]
    own = {Role.MAIN: COLOURS[main] + stray[0], Role.ACCENT: COLOURS[accent] + stray[0 if accent == main else 1]}
    row = list(FINISHES).index(thing.finish) if thing.finish else -1
    wears = {Role.MAIN} | ({Role.ACCENT} if thing.finish in _MATERIALS and thing.part is None else set())
    colours, finishes = [], []
    for part in parts:
        count = len(part.solid.faces)
        rgb = np.array(part.tint) if part.role == Role.DETAIL else own[part.role] * np.array(part.tint)
        colours.append(np.broadcast_to(rgb.clip(0.02, 0.98), (count, 3)))
        finishes.append(np.full(count, row if part.role in wears else -1))
    return np.concatenate(colours), np.concatenate(finishes)
