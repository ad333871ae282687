"""Plants: tree, cactus, flower, mushroom."""

from __future__ import annotations

import math

import numpy as np

from tools.prior.parts import GREEN, Draw, Kind, Part, accent, around, detail, main, on_circle
from tools.prior.shapes import Solid, ball, cone, cylinder, lathe, tube

_POT = (0.7, 0.38, 0.25)


def _lumpy(r: float, d: Draw) -> Solid:
    """A ball with soft bumps."""
    plain = ball(r, sides=16)
    phase = [d.uniform(0, 6) for _ in range(3)]
    v = plain.vertices
    swell = 1 + 0.07 * np.sin(v / r * 5 + phase).sum(1)
    return Solid(v * swell[:, None], plain.faces)


def tree(d: Draw) -> list[Part]:
    trunk, r = d.uniform(0.5, 0.75), d.uniform(0.1, 0.15)
    if d.chance(0.5):
        parts = [accent(lathe([(r * 1.5, 0), (r, 0.15), (r * 0.8, trunk + 0.3)], 12))]
        parts.append(main(_lumpy(d.uniform(0.45, 0.55), d).at(0, trunk + 0.4, 0)))
        count = d.integer(3, 5)
        for i in range(count):
            x, z = on_circle(360 * i / count + d.uniform(-20, 20), d.uniform(0.28, 0.38))
            parts.append(main(_lumpy(d.uniform(0.28, 0.36), d).at(x, trunk + d.uniform(0.2, 0.6), z), d.uniform(0.85, 1.0)))
        return parts
    tiers, wide = d.integer(3, 4), d.uniform(0.5, 0.62)
    parts = [accent(cylinder(r, trunk, sides=12).at(0, trunk / 2, 0))]
    for i in range(tiers):
        size = wide * (1 - 0.24 * i)
        parts.append(main(cone(size, size * 1.25, 16).at(0, trunk * 0.8 + 0.33 * i + size * 0.5, 0), 1 - 0.08 * (i % 2)))
    return parts


def cactus(d: Draw) -> list[Part]:
    r, h = d.uniform(0.2, 0.25), d.uniform(1.1, 1.4)
    body = [(0, 0, 0), (0, h * 0.5, 0), (0, h - r * 0.6, 0), (0, h - r * 0.2, 0), (0, h, 0)]
    parts = [main(tube(body, [r * 0.9, r, r, r * 0.75, 0], 12))]
    first = d.pick([-1, 1])
    for i in range(d.integer(1, 2)):
        s, low, out, up = first * (-1) ** i, h * d.uniform(0.3, 0.5), r + d.uniform(0.25, 0.32), d.uniform(0.3, 0.5)
        arm = r * 0.62
        path = [
            (0, low, 0),
            (s * out * 0.7, low, 0),
            (s * out * 0.95, low + 0.06, 0),
            (s * out, low + 0.2, 0),
            (s * out, low + up, 0),
            (s * out, low + up + arm * 0.8, 0),
        ]
        parts.append(main(tube(path, [arm, arm, arm, arm, arm, arm * 0.1], 10), 0.95))
    parts += around(10, lambda a: main(tube([(*_at(a, r * 0.98, 0.05),), (*_at(a, r * 1.02, h - r),)], 0.022, 5), 0.75))
    blooms = d.integer(2, 3)
    for i in range(blooms):
        x, z = on_circle(120 * i, 0.07)
        parts.append(accent(ball(0.1, 0.08, 0.1, 10).at(x, h + 0.03, z)))
    if d.chance(0.5):
        parts.append(detail(cylinder(r * 1.3, 0.32, top=r * 1.7, sides=16).at(0, -0.05, 0), _POT))
        parts.append(detail(cylinder(r * 1.85, 0.09, sides=16).at(0, 0.12, 0), _POT))
    return parts


def _at(degrees: float, radius: float, y: float) -> tuple[float, float, float]:
    x, z = on_circle(degrees, radius)
    return x, y, z


def flower(d: Draw) -> list[Part]:
    h, petals, long = d.uniform(0.75, 1.0), d.integer(5, 8), d.uniform(0.34, 0.42)
    wide, tilt = min(0.3, 1.9 * long / petals), d.uniform(35, 60)
    lean = d.uniform(-0.08, 0.08)
    stem = [(0, 0, 0), (lean, h * 0.5, 0), (0, h, 0)]
    parts = [detail(tube(stem, 0.045, 8), GREEN)]
    core = d.uniform(0.14, 0.19)
    head: list[Part] = [accent(ball(core, core, core * 0.55, 14).at(0, 0, 0.05))]
    for i in range(petals):
        petal = ball(wide, long / 2 + 0.06, 0.05, 12).at(0, core * 0.6 + long / 2, 0).turn("x", 12).turn("z", 360 * i / petals)
        head.append(main(petal, 1 - 0.1 * (i % 2)))
    head.append(detail(cone(core * 1.3, 0.2, 10).turn("x", -90).at(0, 0, -0.08), GREEN))
    parts += [Part(part.solid.turn("x", -tilt * 0.6).at(0, h + 0.02, 0.03), part.role, part.tint) for part in head]
    for s in (-1, 1):
        leaf = ball(0.22, 0.03, 0.1, 10).at(0.22, 0, 0).turn("z", 38).scaled(s, 1, 1)
        parts.append(detail(leaf.at(0, h * d.uniform(0.2, 0.45), 0), GREEN))
    if d.chance(0.4):
        parts.append(detail(cylinder(0.2, 0.32, top=0.28, sides=16).at(0, -0.08, 0), _POT))
    return parts


def mushroom(d: Draw) -> list[Part]:
    r, cap, h, stem = d.uniform(0.55, 0.7), d.uniform(0.34, 0.55), d.uniform(0.5, 0.75), d.uniform(0.15, 0.22)
    pointed = d.chance(0.3)
    top = [(r, 0.0), (r * 1.02, 0.06)]
    top += [(r * math.cos(a), 0.06 + cap * math.sin(a) ** (1.4 if pointed else 1)) for a in (0.3, 0.6, 0.9, 1.2, 1.4)]
    parts = [main(lathe([(0, 0.08), (r * 0.5, 0.02), *top, (0, 0.06 + cap)], 24).at(0, h, 0))]
    parts.append(accent(lathe([(stem * 1.25, 0), (stem, h * 0.4), (stem * 0.85, h + 0.08)], 16)))
    if d.chance(0.5):
        parts.append(accent(lathe([(stem, h * 0.75), (stem * 1.6, h * 0.62), (stem * 0.98, h * 0.68)], 16)))
    if d.chance(0.6):
        for i in range(d.integer(6, 9)):
            turn, a = 137.5 * i, 0.35 + 0.9 * ((i * 0.618) % 1)
            x, z = on_circle(turn, r * math.cos(a) * 0.99)
            y = h + 0.05 + cap * math.sin(a) ** (1.4 if pointed else 1)
            size = d.uniform(0.07, 0.12)
            parts.append(accent(ball(size, size * 0.5, size, 10).turn("x", 90 * math.cos(a)).turn("y", turn).at(x, y, z)))
    return parts


KINDS = {
    "tree": Kind(("tree",), "trunk", False, ("green", "brown"), tree, sided=False),
    "cactus": Kind(("cactus",), "blooms", True, ("green", "pink"), cactus, portable=True, sided=False),
    "flower": Kind(("flower", "daisy"), "center", False, ("red", "yellow"), flower, portable=True),
    "mushroom": Kind(("mushroom", "toadstool"), "stem", False, ("red", "white"), mushroom, portable=True, sided=False),
}
