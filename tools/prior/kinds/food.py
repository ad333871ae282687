"""Food: apple, banana, carrot, burger, cake, donut."""

from __future__ import annotations

import math

from tools.prior.parts import GREEN, Draw, Kind, Part, accent, detail, main, on_circle
from tools.prior.shapes import Solid, ball, box, cylinder, lathe, torus, tube

_BROWN = (0.4, 0.26, 0.13)


def _leaf(long: float, wide: float) -> Solid:
    """Lying along +x from the origin."""
    return ball(long / 2, 0.025, wide / 2, 10).at(long / 2)


def apple(d: Draw) -> list[Part]:
    r, tall, dip = d.uniform(0.56, 0.64), d.uniform(0.5, 0.58), d.uniform(0.14, 0.2)
    waist = d.uniform(0.0, 0.12)
    profile = [
        (0, -tall + 0.08),
        (r * 0.3, -tall),
        (r * 0.62, -tall * 0.88),
        (r * (0.9 - waist), -tall * 0.45),
        (r, 0.05),
        (r * 0.95, tall * 0.5),
    ]
    profile += [(r * 0.72, tall * 0.88), (r * 0.42, tall * 0.98), (r * 0.18, tall * 0.9), (0, tall - dip)]
    lean = d.uniform(-0.12, 0.12)
    stem = [(0.0, tall - dip, 0.0), (lean * 0.3, tall + 0.1, 0.0), (lean, tall + 0.26, 0.0)]
    parts = [main(lathe(profile, 22)), detail(tube(stem, [0.05, 0.045, 0.06], 8), _BROWN)]
    turn = d.uniform(0, 360)
    parts.append(accent(_leaf(d.uniform(0.4, 0.5), d.uniform(0.22, 0.28)).turn("z", 25).turn("y", turn).at(lean * 0.4, tall + 0.1, 0)))
    return parts


def banana(d: Draw) -> list[Part]:
    r, bend, sweep = d.uniform(0.16, 0.2), d.uniform(0.55, 0.7), d.uniform(105, 140)
    count = d.integer(1, 3)
    parts = []
    for i in range(count):
        path, radii = [], []
        for k in range(11):
            a = math.radians(-90 + sweep * (k / 10 - 0.5))
            path.append((bend * math.cos(a) * 1.15, bend * math.sin(a), 0.0))
            radii.append(r * (0.35 + 0.65 * math.sin(math.pi * min(max(k / 10, 0.06), 0.94)) ** 0.5))
        angle = (i - (count - 1) / 2) * 24
        parts.append(main(tube(path, radii, 8).turn("x", angle), 1.0 - 0.06 * (i % 2)))
        end = path[-1]
        a = math.radians(-90 + sweep / 2)
        tip = (end[0] - 0.16 * math.sin(a) * 1.15, end[1] + 0.16 * math.cos(a), 0.0)
        parts.append(accent(tube([end, tip], [r * 0.42, r * 0.33], 8).turn("x", angle)))
        parts.append(accent(ball(r * 0.4).at(*path[0]).turn("x", angle)))
    return parts


def carrot(d: Draw) -> list[Part]:
    h, r = d.uniform(1.1, 1.35), d.uniform(0.2, 0.29)
    body = lathe([(0, 0), (r * 0.28, h * 0.15), (r * 0.66, h * 0.5), (r, h * 0.9), (r * 0.7, h), (0, h + 0.02)], 16)
    parts = [main(body)]
    parts += [main(torus(r * s, 0.02, 16, 6).at(0, h * y, 0), 0.75) for s, y in ((0.5, 0.35), (0.74, 0.58), (0.92, 0.78))]
    leaves = d.integer(5, 7)
    for i in range(leaves):
        turn, out, up = 360 * i / leaves, d.uniform(0.15, 0.32), d.uniform(0.38, 0.58)
        x, z = on_circle(turn, out)
        parts.append(
            accent(tube([(0, h - 0.02, 0), (x * 0.5, h + up * 0.6, z * 0.5), (x, h + up, z)], [0.05, 0.085, 0.01], 7), 1 - 0.12 * (i % 2))
        )
    return parts


def burger(d: Draw) -> list[Part]:
    r, top = d.uniform(0.62, 0.7), d.uniform(0.36, 0.48)
    bun = lathe([(0, 0), (r, 0), (r * 1.03, 0.08), (r * 0.9, top * 0.62), (r * 0.55, top * 0.92), (0, top)], 24)
    y, parts = 0.0, [main(cylinder(r, 0.2, bevel=0.06, sides=24).at(0, 0.1, 0))]
    y = 0.2
    for layer in range(d.integer(1, 2)):
        parts.append(detail(cylinder(r * 1.02, 0.15, bevel=0.04, sides=24).at(0, y + 0.07, 0), (0.32, 0.17, 0.1)))
        parts.append(detail(box(r * 1.45, 0.04, r * 1.45, 0.01).turn("y", 45 * layer + 20).at(0, y + 0.16, 0), (0.97, 0.75, 0.2)))
        y += 0.18
    leaf = [
        (
            r * 1.13 * (1 + 0.06 * math.sin(7 * t)) * math.sin(t),
            y + 0.03 * math.sin(9 * t),
            r * 1.13 * (1 + 0.06 * math.sin(7 * t)) * math.cos(t),
        )
        for t in (2 * math.pi * i / 40 for i in range(40))
    ]
    parts.append(accent(tube(leaf, 0.055, 6, loop=True)))
    parts.append(accent(cylinder(r * 1.1, 0.05, sides=24).at(0, y, 0)))
    parts.append(main(bun.at(0, y + 0.04, 0)))
    for _ in range(14):
        turn, share = d.uniform(0, 360), d.uniform(0.1, 0.75)
        x, z = on_circle(turn, r * share)
        high = top * (1 - share**2) ** 0.5 * 0.99
        parts.append(detail(ball(0.035, 0.025, 0.022, 6).turn("y", turn).at(x, y + 0.05 + high, z), (0.98, 0.93, 0.75)))
    return parts


def cake(d: Draw) -> list[Part]:
    tiers = d.integer(1, 3)
    r, y, parts = d.uniform(0.6, 0.72), 0.06, []
    parts.append(detail(cylinder(r * 1.15, 0.05, sides=26).at(0, 0.02, 0), (0.9, 0.9, 0.92)))
    for tier in range(tiers):
        high = (0.42, 0.36, 0.3)[tier] * (1.25 if tiers == 1 else 1.0)
        parts.append(main(cylinder(r, high, sides=26).at(0, y + high / 2, 0)))
        parts.append(accent(torus(r * 0.97, 0.055, 26, 8).at(0, y + high, 0)))
        if tier == tiers - 1:
            parts.append(accent(cylinder(r * 0.95, 0.05, sides=26).at(0, y + high, 0)))
        drop = ball(0.065, 0.13, 0.05, 8).at(0, y + high - 0.08, r)
        parts += [accent(drop.turn("y", 36 * i)) for i in range(10)]
        y, r = y + high, r * 0.68
    if d.chance(0.5):
        candles = d.integer(1, 4)
        for i in range(candles):
            x, z = on_circle(360 * i / candles, r * 0.7 if candles > 1 else 0)
            parts.append(detail(cylinder(0.035, 0.26, sides=8).at(x, y + 0.13, z), (0.95, 0.85, 0.55)))
            parts.append(detail(ball(0.04, 0.08, 0.04, 8).at(x, y + 0.32, z), (1.0, 0.6, 0.1)))
    else:
        parts.append(detail(ball(0.13, sides=14).at(0, y + 0.12, 0), (0.8, 0.08, 0.12)))
        parts.append(detail(tube([(0, y + 0.2, 0), (0.06, y + 0.36, 0)], 0.018, 6), GREEN))
    return parts


def donut(d: Draw) -> list[Part]:
    big, small = d.uniform(0.42, 0.48), d.uniform(0.2, 0.26)
    tilt = d.pick([0.0, 0.0, 70.0])
    parts = [detail(torus(big, small, 28, 12, 0.85), (0.82, 0.6, 0.35))]
    parts.append(main(torus(big, small * 1.08, 28, 12, 0.75).at(0, small * 0.2, 0)))
    for _ in range(d.integer(14, 26)):
        turn, side = d.uniform(0, 360), d.uniform(-0.75, 0.75)
        radius, high = big + small * side, small * 0.2 + small * 0.79 * (1 - side**2) ** 0.5
        x, z = on_circle(turn, radius)
        parts.append(accent(cylinder(0.024, 0.11, sides=6).turn("x", 90).turn("y", d.uniform(0, 180)).at(x, high, z)))
    return [Part(part.solid.turn("x", tilt), part.role, part.tint) for part in parts]


KINDS = {
    "apple": Kind(("apple",), "leaf", False, ("red", "green"), apple, portable=True, sided=False),
    "banana": Kind(("banana",), "tips", True, ("yellow", "brown"), banana, portable=True, sided=False),
    "carrot": Kind(("carrot",), "leaves", True, ("orange", "green"), carrot, portable=True, sided=False),
    "burger": Kind(("burger", "hamburger"), "lettuce", True, ("orange", "green"), burger, portable=True, sided=False),
    "cake": Kind(("cake",), "icing", True, ("brown", "pink"), cake, portable=True, sided=False),
    "donut": Kind(("donut", "doughnut"), "sprinkles", True, ("pink", "white"), donut, portable=True, sided=False),
}
