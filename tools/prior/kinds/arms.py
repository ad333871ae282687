"""Tools and weapons: hammer, axe, key, sword, shield, cannon, bomb."""

from __future__ import annotations

from tools.prior.parts import WOOD, Draw, Kind, Part, accent, around, detail, main, on_circle
from tools.prior.shapes import arc, ball, box, cone, cylinder, extrude, lathe, star, torus, tube


def hammer(d: Draw) -> list[Part]:
    h, r, long = d.uniform(1.0, 1.25), d.uniform(0.07, 0.09), d.uniform(0.7, 0.9)
    thick = d.uniform(0.27, 0.36)
    parts = [accent(lathe([(r * 1.3, 0), (r * 1.4, 0.15), (r, 0.4), (r, h)], 12))]
    head = h - thick * 0.3
    if d.chance(0.5):
        parts.append(main(box(long, thick, thick, 0.04).at(0, head, 0)))
        parts += [main(box(0.1, thick * 1.15, thick * 1.15).at(s * long / 2, head, 0), 0.88) for s in (-1, 1)]
    else:
        parts.append(main(cylinder(thick * 0.5, long * 0.5, sides=14).turn("z", 90).at(-long * 0.25, head, 0)))
        parts.append(main(cylinder(thick * 0.62, 0.14, sides=14).turn("z", 90).at(-long * 0.5, head, 0), 0.88))
        claw = [
            (0.0, -thick * 0.42),
            (long * 0.5, -thick * 0.55),
            (long * 0.5, -thick * 0.42),
            (long * 0.25, thick * 0.3),
            (0.0, thick * 0.45),
        ]
        parts.append(main(extrude(claw, thick * 0.8).at(0, head, 0)))
    return parts


def axe(d: Draw) -> list[Part]:
    h, r, wide, tall = d.uniform(1.2, 1.4), d.uniform(0.055, 0.075), d.uniform(0.45, 0.55), d.uniform(0.6, 0.8)
    parts = [accent(lathe([(r * 1.4, 0), (r, 0.2), (r, h)], 12)), accent(ball(r * 1.6).at(0, 0.02, 0))]
    y = h * 0.82
    edge = arc((wide * 0.55, 0), (wide * 0.5, tall / 2), (-65, 65), 9)
    blade = [(-0.09, -0.12), (0.09, -0.12), *edge, (0.09, 0.12), (-0.09, 0.12)]
    sides = (1, -1) if d.chance(0.4) else (1,)
    parts += [main(extrude(blade, 0.1, 0.03).scaled(s, 1, 1).at(0, y, 0)) for s in sides]
    if len(sides) == 1:
        parts.append(main(box(0.16, 0.2, 0.13).at(-0.12, y, 0), 0.85))
    return parts


def key(d: Draw) -> list[Part]:
    h, r, big, small = d.uniform(0.9, 1.1), d.uniform(0.075, 0.095), d.uniform(0.28, 0.34), d.uniform(0.085, 0.11)
    parts = [main(cylinder(r, h, sides=12).at(0, h / 2, 0))]
    if d.chance(0.5):
        parts.append(main(torus(big, small).turn("x", 90).at(0, h + big, 0)))
    else:
        parts += [main(torus(big * 0.58, small * 0.9).turn("x", 90).at(x, h + y, 0)) for x, y in ((-0.24, 0.18), (0.24, 0.18), (0.0, 0.52))]
    teeth = d.integer(2, 3)
    for i in range(teeth):
        long = d.uniform(0.24, 0.36)
        parts.append(accent(box(long, 0.13, 0.13).at(long / 2, 0.08 + 0.21 * i, 0)))
    parts.append(main(cylinder(r * 1.5, 0.09, sides=12).at(0, h * 0.92, 0), 0.85))
    return parts


def sword(d: Draw) -> list[Part]:
    blade, w, guard = d.uniform(1.0, 1.25), d.uniform(0.22, 0.3), d.uniform(0.5, 0.65)
    outline = [(-w / 2, 0.0), (w / 2, 0.0), (w / 2 * d.uniform(0.75, 1.0), blade * 0.82), (0.0, blade), (-w / 2 * 0.85, blade * 0.82)]
    parts = [main(extrude(outline, 0.07, 0.025)), main(box(w * 0.25, blade * 0.75, 0.085).at(0, blade * 0.4, 0), 0.8)]
    if d.chance(0.5):
        parts.append(accent(box(guard, 0.1, 0.13).at(0, 0, 0)))
    else:
        curve = [(-guard / 2, 0.12, 0.0), (-guard / 4, 0.0, 0.0), (0.0, -0.03, 0.0), (guard / 4, 0.0, 0.0), (guard / 2, 0.12, 0.0)]
        parts.append(accent(tube(curve, 0.06)))
    grip = d.uniform(0.26, 0.34)
    parts.append(accent(cylinder(0.06, grip, sides=12).at(0, -grip / 2, 0), 0.8))
    parts.append(accent(ball(0.1).at(0, -grip - 0.04, 0)))
    return parts


def shield(d: Draw) -> list[Part]:
    style, w, h = d.integer(0, 2), d.uniform(1.0, 1.2), d.uniform(1.25, 1.4)
    if style == 0:
        r = w * 0.6
        parts = [main(lathe([(0, 0), (r, 0), (r, 0.05), (r * 0.55, 0.13), (0, 0.16)], 26).turn("x", 90))]
        parts.append(accent(torus(r, 0.06, 28).turn("x", 90).at(0, 0, 0.03)))
        parts.append(accent(ball(r * 0.26, r * 0.26, 0.12).at(0, 0, 0.15)))
        parts += around(8, lambda a: accent(ball(0.045).at(on_circle(a, r * 0.78)[0], on_circle(a, r * 0.78)[1], 0.09)))
    else:
        top = [(0.0, 0.46), (-0.5, 0.5)] if style == 1 else [(0.25, 0.44), (0.0, 0.52), (-0.25, 0.44), (-0.5, 0.5)]
        outline = [(-0.5, 0.0), (-0.38, -0.28), (0.0, -0.55), (0.38, -0.28), (0.5, 0.0), (0.5, 0.5), *top]
        scaled = [(x * w, y * h) for x, y in outline]
        parts = [accent(extrude(scaled, 0.1, 0.02)), main(extrude([(x * 0.85, y * 0.87) for x, y in scaled], 0.16, 0.03))]
        if d.chance(0.5):
            parts.append(accent(box(0.13, h * 0.9, 0.2).at(0, -0.02, 0)))
            parts.append(accent(box(w * 0.85, 0.13, 0.2).at(0, 0.1 * h, 0)))
        else:
            parts.append(accent(extrude(star(5, w * 0.22, w * 0.1), 0.22).at(0, 0.05 * h, 0)))
    handle = [(0.0, 0.22, -0.03), (0.0, 0.15, -0.16), (0.0, -0.15, -0.16), (0.0, -0.22, -0.03)]
    parts.append(detail(tube(handle, 0.045, 8), WOOD))
    return parts


def cannon(d: Draw) -> list[Part]:
    long, r, wheel = d.uniform(1.2, 1.45), d.uniform(0.24, 0.29), d.uniform(0.3, 0.38)
    barrel = lathe(
        [
            (0, -0.12),
            (r * 0.5, -0.1),
            (r * 1.15, 0.03),
            (r * 1.1, 0.3),
            (r * 0.8, long * 0.9),
            (r * 1.05, long * 0.92),
            (r * 1.05, long),
            (r * 0.6, long),
            (r * 0.55, long * 0.7),
            (0, long * 0.7),
        ]
    )
    tilt = d.uniform(65, 82)
    y = wheel + r * 0.9
    parts = [main(barrel.turn("x", tilt).at(0, y, -long * 0.42)), main(ball(r * 0.42).turn("x", tilt).at(0, y - 0.04, -long * 0.42 - 0.2))]
    parts += [main(torus(r * 1.0, 0.045, 20, 8).at(0, long * s, 0).turn("x", tilt).at(0, y, -long * 0.42), 0.85) for s in (0.25, 0.55)]
    for s in (-1, 1):
        x = s * (r + 0.16)
        parts.append(accent(torus(wheel * 0.88, wheel * 0.12, 22, 8).turn("z", 90).at(x, wheel, 0)))
        parts += [accent(box(0.05, wheel * 1.7, 0.06).turn("x", a).at(x, wheel, 0)) for a in (0, 60, 120)]
        parts.append(accent(cylinder(0.09, 0.16, sides=12).turn("z", 90).at(x, wheel, 0)))
        parts.append(detail(box(0.09, 0.14, long * 0.9).turn("x", -14).at(s * (r + 0.02), wheel * 0.9, -long * 0.25), WOOD))
    parts.append(accent(cylinder(0.06, 2 * r + 0.4, sides=10).turn("z", 90).at(0, wheel, 0), 0.8))
    return parts


def bomb(d: Draw) -> list[Part]:
    r = d.uniform(0.55, 0.62)
    lean = d.uniform(-25, 25)
    parts = [main(ball(r, sides=24)), accent(cylinder(r * 0.3, 0.24, sides=16).at(0, r + 0.03, 0).turn("z", lean))]
    bend = d.uniform(0.15, 0.35) * d.pick([-1, 1])
    fuse = [(0.0, r + 0.1, 0.0), (0.02 * bend, r + 0.28, 0.0), (bend * 0.5, r + 0.4, 0.02), (bend, r + 0.45, 0.05)]
    tip = tube(fuse, 0.045, 8).turn("z", lean)
    parts.append(detail(tip, (0.75, 0.65, 0.45)))
    end = ball(0.001).at(*fuse[-1]).turn("z", lean).vertices.mean(0)
    parts.append(detail(ball(0.09).at(*end), (1.0, 0.6, 0.1)))
    parts += [
        detail(cone(0.035, 0.14, 6).turn("z", a).at(*end).at(-0.11 * on_circle(a, 1)[0], 0.11 * on_circle(a, 1)[1]), (1.0, 0.85, 0.2))
        for a in range(0, 360, 60)
    ]
    return parts


KINDS = {
    "hammer": Kind(("hammer", "mallet"), "handle", False, ("grey", "brown"), hammer, portable=True, sided=False),
    "axe": Kind(("axe", "hatchet"), "handle", False, ("grey", "brown"), axe, portable=True, sided=False),
    "key": Kind(("key",), "teeth", True, ("yellow", "yellow"), key, portable=True),
    "sword": Kind(("sword",), "hilt", False, ("grey", "yellow"), sword, portable=True, sided=False),
    "shield": Kind(("shield",), "rim", False, ("blue", "yellow"), shield, portable=True),
    "cannon": Kind(("cannon",), "wheels", True, ("black", "brown"), cannon, portable=True),
    "bomb": Kind(("bomb", "grenade"), "cap", False, ("black", "grey"), bomb, portable=True, sided=False),
}
