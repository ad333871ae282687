"""Animals: bird, fish, turtle, elephant, giraffe, rabbit, snail. They look towards +Z."""

from __future__ import annotations

import math

from tools.prior.parts import BLACK, WHITE, Draw, Kind, Part, accent, detail, main, on_circle
from tools.prior.shapes import Solid, ball, cone, cylinder, extrude, tube

_BEAK = (0.95, 0.6, 0.15)


def _eyes(x: float, y: float, z: float, r: float) -> list[Part]:
    """White balls with dark pupils, on both sides of a head."""
    made = []
    for s in (-1, 1):
        made.append(detail(ball(r, sides=10).at(s * x, y, z), WHITE))
        made.append(detail(ball(r * 0.62, sides=8).at(s * (x + r * 0.32), y, z + r * 0.52), BLACK))
    return made


def _leaf_side(outline: list[tuple[float, float]], thick: float) -> Solid:
    """An outline of (z, y) drawn out across x."""
    return extrude(outline, thick).turn("y", -90)


def bird(d: Draw) -> list[Part]:
    long, r, head = d.uniform(0.5, 0.58), d.uniform(0.33, 0.4), d.uniform(0.23, 0.28)
    parts = [main(ball(r * 0.9, r, long).turn("x", -18))]
    hy, hz = r * 0.95, long * 0.72
    parts.append(main(ball(head).at(0, hy, hz)))
    parts.append(detail(cone(head * 0.5, d.uniform(0.24, 0.36), 10).turn("x", 90).at(0, hy - 0.02, hz + head + 0.08), _BEAK))
    parts += _eyes(head * 0.6, hy + 0.08, hz + head * 0.6, head * 0.32)
    parts.append(detail(ball(r * 0.6, r * 0.75, 0.16, 12).turn("x", -18).at(0, -0.05, long * 0.78), (0.95, 0.88, 0.7)))
    tail = extrude([(-0.12, 0.0), (0.12, 0.0), (0.3, 0.56), (0.0, 0.5), (-0.3, 0.56)], 0.08)
    parts.append(accent(tail.turn("x", -90 + 2 * d.uniform(10, 22)).at(0, r * 0.02, -long * 0.72)))
    up = d.chance(0.35)
    for s in (-1, 1):
        if up:
            wing = ball(0.36, 0.05, 0.24, 12).at(0.36, 0, 0).turn("z", 38).scaled(s, 1, 1).at(s * r * 0.5, r * 0.4, 0)
        else:
            wing = ball(0.07, r * 0.62, long * 0.72, 12).turn("x", -24).turn("z", s * 10).at(s * r * 0.86, 0.02, -0.1)
        parts.append(accent(wing))
        parts.append(detail(cylinder(0.03, 0.3, sides=6).at(s * 0.12, -r - 0.05, 0.05), _BEAK))
        parts.append(detail(ball(0.09, 0.03, 0.14, 8).at(s * 0.12, -r - 0.2, 0.1), _BEAK))
    if d.chance(0.3):
        parts.append(accent(_leaf_side([(-0.16, 0.0), (0.1, 0.0), (-0.2, 0.24)], 0.05).at(0, hy + head * 0.8, hz)))
    return parts


def fish(d: Draw) -> list[Part]:
    long, tall, wide = d.uniform(0.58, 0.7), d.uniform(0.34, 0.46), d.uniform(0.18, 0.24)
    body = ball(wide, tall, long, 20)
    v = body.vertices.copy()
    v[:, 1] *= 1 - 0.45 * (-v[:, 2] / long).clip(0, 1)
    parts = [main(Solid(v, body.faces))]
    fork = d.uniform(0.32, 0.44)
    tail = [(-long * 0.8, 0.0), (-long * 1.38, -fork), (-long * 1.22, 0.0), (-long * 1.38, fork)]
    parts.append(accent(_leaf_side(tail[::-1], 0.06)))
    high = d.uniform(0.2, 0.32)
    parts.append(
        accent(
            _leaf_side(
                [(-long * 0.5, tall * 0.65), (long * 0.4, tall * 0.8), (-long * 0.05, tall + high), (-long * 0.6, tall * 0.8 + high)], 0.05
            )
        )
    )
    parts.append(accent(_leaf_side([(-long * 0.15, -tall * 0.85), (-long * 0.3, -tall - high * 0.8), (long * 0.15, -tall * 0.8)], 0.05)))
    for s in (-1, 1):
        fin = ball(0.03, 0.11, 0.2, 10).at(0, 0, -0.18).turn("y", s * -38).at(s * wide * 0.92, -tall * 0.15, long * 0.25)
        parts.append(accent(fin))
    parts += _eyes(wide * 0.66, tall * 0.25, long * 0.66, 0.1)
    parts.append(detail(ball(wide * 0.5, 0.06, 0.06, 8).at(0, -tall * 0.1, long * 0.96), (0.6, 0.25, 0.25)))
    return parts


def turtle(d: Draw) -> list[Part]:
    r, tall, head = d.uniform(0.56, 0.62), d.uniform(0.42, 0.54), d.uniform(0.14, 0.17)
    shell = ball(r, tall, r * 1.12, 22)
    v = shell.vertices.copy()
    v[:, 1] = v[:, 1].clip(-0.06, None)
    parts = [main(Solid(v, shell.faces).at(0, 0.22, 0)), main(cylinder(r * 1.05, 0.09, sides=24).scaled(1, 1, 1.12).at(0, 0.2, 0), 0.75)]
    for i in range(6):
        x, z = on_circle(60 * i + 30, r * 0.62)
        parts.append(main(ball(0.17, 0.06, 0.17, 8).turn("x", 40).turn("y", 60 * i + 30).at(x, 0.22 + tall * 0.79, z * 1.1), 0.82))
    parts.append(main(ball(0.2, 0.06, 0.2, 8).at(0, 0.22 + tall * 0.97, 0), 0.82))
    hy, hz = d.uniform(0.3, 0.42), r * 1.12 + 0.2
    parts.append(accent(tube([(0, 0.18, r * 0.9), (0, hy, hz)], [0.11, 0.09], 10)))
    parts.append(accent(ball(head, head * 0.9, head * 1.15).at(0, hy + 0.04, hz + 0.05)))
    parts += _eyes(head * 0.66, hy + 0.1, hz + 0.12, 0.065)
    for sx in (-1, 1):
        for sz in (-1, 1):
            parts.append(accent(ball(0.13, 0.18, 0.15, 10).at(sx * r * 0.76, 0.07, sz * r * 0.78)))
    parts.append(accent(cone(0.07, 0.24, 8).turn("x", -100).at(0, 0.16, -r * 1.12 - 0.1)))
    return parts


def elephant(d: Draw) -> list[Part]:
    r, long, leg = d.uniform(0.4, 0.46), d.uniform(0.55, 0.64), d.uniform(0.4, 0.5)
    head, y = d.uniform(0.27, 0.31), leg + r * 0.75
    parts = [main(ball(r, r, long).at(0, y, -0.1))]
    hy, hz = y + r * 0.45, long * 0.85
    parts.append(main(ball(head, head * 1.05, head).at(0, hy, hz)))
    curl = d.uniform(0.0, 0.35)
    trunk = [
        (0, hy - 0.05, hz + head * 0.7),
        (0, hy - 0.25, hz + head + 0.12),
        (0, hy - 0.5, hz + head + 0.14),
        (0, hy - 0.68, hz + head + 0.16 + curl * 0.5),
        (0, hy - 0.7 + curl * 0.6, hz + head + 0.22 + curl),
    ]
    parts.append(main(tube(trunk, [0.14, 0.12, 0.1, 0.08, 0.07], 12), 0.95))
    ear = d.uniform(0.28, 0.36)
    for s in (-1, 1):
        parts.append(accent(ball(ear, ear * 1.15, 0.05, 16).turn("y", s * -25).at(s * (head + ear * 0.6), hy + 0.02, hz - 0.1)))
        tusk = [(s * 0.14, hy - 0.16, hz + head * 0.7), (s * 0.18, hy - 0.3, hz + head + 0.1), (s * 0.17, hy - 0.3, hz + head + 0.3)]
        parts.append(detail(tube(tusk, [0.05, 0.04, 0.005], 8), WHITE))
        for z in (-long * 0.62, long * 0.42):
            parts.append(main(cylinder(0.15, leg + 0.1, top=0.13, sides=14).at(s * r * 0.58, (leg + 0.1) / 2, z), 0.9))
    parts += [detail(ball(0.055, sides=8).at(s * head * 0.6, hy + 0.1, hz + head * 0.76), BLACK) for s in (-1, 1)]
    parts.append(
        main(tube([(0, y + 0.15, -long - 0.05), (0, y - 0.1, -long - 0.16), (0, y - 0.3, -long - 0.14)], [0.04, 0.03, 0.04], 6), 0.85)
    )
    return parts


def giraffe(d: Draw) -> list[Part]:
    leg, neck, r, long = d.uniform(0.6, 0.75), d.uniform(0.75, 0.95), d.uniform(0.19, 0.23), d.uniform(0.36, 0.42)
    y = leg + r * 0.6
    parts = [main(ball(r, r, long).turn("x", -10).at(0, y, 0))]
    top = (0.0, y + neck, long * 0.6 + neck * 0.34)
    parts.append(main(tube([(0, y, long * 0.55), (0, y + neck * 0.5, long * 0.62 + neck * 0.18), top], [0.16, 0.1, 0.085], 12)))
    parts.append(main(ball(0.11, 0.11, 0.21, 12).turn("x", 18).at(0, top[1] + 0.03, top[2] + 0.1)))
    for s in (-1, 1):
        for z in (-long * 0.62, long * 0.62):
            parts.append(main(cylinder(0.06, leg, sides=10).at(s * r * 0.55, leg / 2, z), 0.95))
            parts.append(accent(cylinder(0.07, 0.1, sides=10).at(s * r * 0.55, 0.05, z)))
        parts.append(accent(cylinder(0.025, 0.17, sides=6).at(s * 0.06, top[1] + 0.18, top[2] + 0.02)))
        parts.append(accent(ball(0.045, sides=8).at(s * 0.06, top[1] + 0.27, top[2] + 0.02)))
        parts.append(main(ball(0.11, 0.035, 0.06, 8).turn("z", s * 20).at(s * 0.16, top[1] + 0.08, top[2])))
        parts.append(detail(ball(0.03, sides=8).at(s * 0.095, top[1] + 0.07, top[2] + 0.15), BLACK))
    for i in range(10):
        a, z = 137.5 * i, long * (0.75 - 0.17 * i)
        ring = r * max(1 - (z / long) ** 2, 0.05) ** 0.5
        x, up = _turned(a)
        parts.append(accent(ball(0.085, 0.035, 0.085, 8).turn("z", -a).at(x * ring, up * ring + y - 0.02 + z * 0.17, z)))
    for i in range(6):
        share = 0.25 + 0.13 * i
        x, up = _turned(90 if i % 2 else -90)
        parts.append(
            accent(ball(0.03, 0.07, 0.06, 8).at(x * (0.15 - 0.06 * share), y + neck * share, long * 0.57 + neck * 0.34 * share + up))
        )
    parts.append(accent(tube([(0, y + 0.05, -long), (0, y - 0.25, -long - 0.12)], [0.025, 0.04], 6)))
    return parts


def _turned(degrees: float) -> tuple[float, float]:
    return math.sin(math.radians(degrees)), math.cos(math.radians(degrees))


def rabbit(d: Draw) -> list[Part]:
    r, head, ear = d.uniform(0.36, 0.42), d.uniform(0.26, 0.3), d.uniform(0.5, 0.66)
    parts = [main(ball(r * 0.92, r * 1.1, r).at(0, r, 0))]
    hy, hz = r * 2.05 + head * 0.45, r * 0.25
    parts.append(main(ball(head, head * 0.95, head).at(0, hy, hz)))
    flop = d.uniform(5, 16)
    for s in (-1, 1):
        for solid, make in ((ball(0.1, ear / 2, 0.06, 12), main), (ball(0.065, ear * 0.4, 0.04, 12).at(0, 0, 0.035), accent)):
            parts.append(make(solid.at(0, ear / 2, 0).turn("z", -s * flop).at(s * head * 0.42, hy + head * 0.7, hz - 0.02)))
        parts.append(main(ball(0.12, 0.09, 0.24, 10).at(s * r * 0.55, 0.07, r * 0.7), 0.93))
        parts.append(main(ball(0.09, 0.2, 0.1, 10).turn("x", -25).at(s * r * 0.5, r * 1.05, r * 0.85), 0.93))
        parts.append(main(ball(0.14, 0.2, 0.2, 10).at(s * r * 0.75, 0.2, -0.02), 0.95))
    parts.append(accent(ball(r * 0.6, r * 0.75, 0.12, 14).at(0, r * 0.95, r * 0.86)))
    parts += _eyes(head * 0.5, hy + 0.06, hz + head * 0.75, 0.08)
    parts.append(detail(ball(0.07, 0.05, 0.06, 8).at(0, hy - 0.06, hz + head), (0.9, 0.45, 0.5)))
    parts.append(accent(ball(0.2, sides=12).at(0, r * 0.55, -r * 1.1)))
    return parts


def snail(d: Draw) -> list[Part]:
    r, long = d.uniform(0.42, 0.5), d.uniform(0.65, 0.78)
    path = [
        (0, 0.05, -long),
        (0, 0.1, -long * 0.4),
        (0, 0.12, long * 0.3),
        (0, 0.2, long * 0.7),
        (0, 0.42, long * 0.9),
        (0, 0.52, long * 0.95),
    ]
    parts = [accent(tube(path, [0.02, 0.14, 0.17, 0.15, 0.13, 0.1], 12)), accent(ball(0.15, sides=12).at(0, 0.5, long * 0.95))]
    turns, points, radii = 2.25, [], []
    count = 34
    for i in range(count):
        share = i / (count - 1)
        a, reach = math.radians(-110) - 2 * math.pi * turns * share, r * (1 - 0.82 * share)
        points.append((0.0, 0.22 + r * 0.85 + reach * 0.62 * math.sin(a), -0.1 + reach * 0.62 * math.cos(a)))
        radii.append(r * (0.46 - 0.26 * share))
    parts.append(main(tube(points, radii, 12)))
    parts += [
        main(
            ball(0.22 - 0.05 * i, (r * 0.72) * (1 - 0.3 * i), (r * 0.72) * (1 - 0.3 * i), 14).at(s * 0.09 * (1 + i), 0.22 + r * 0.85, -0.1),
            0.8 if i else 0.92,
        )
        for s in (-1, 1)
        for i in (0, 1)
    ]
    for s in (-1, 1):
        tip = (s * 0.14, 0.92, long * 1.02)
        parts.append(accent(tube([(s * 0.06, 0.58, long * 0.95), tip], [0.035, 0.025], 6)))
        parts.append(detail(ball(0.055, sides=10).at(*tip), BLACK))
    return parts


KINDS = {
    "bird": Kind(("bird",), "wings", True, ("blue", "blue"), bird, portable=True),
    "fish": Kind(("fish",), "fins", True, ("orange", "orange"), fish, portable=True),
    "turtle": Kind(("turtle", "tortoise"), "legs", True, ("green", "green"), turtle, portable=True),
    "elephant": Kind(("elephant",), "ears", True, ("grey", "grey"), elephant, portable=True),
    "giraffe": Kind(("giraffe",), "patches", True, ("yellow", "brown"), giraffe, portable=True),
    "rabbit": Kind(("rabbit", "bunny"), "belly", False, ("white", "pink"), rabbit, portable=True),
    "snail": Kind(("snail",), "body", False, ("brown", "yellow"), snail, portable=True),
}
