"""Containers and characters: mug, barrel, chest, teapot, box; snowman, robot, ghost."""

from __future__ import annotations

import math

from tools.prior.parts import BLACK, DARK, GOLD, Draw, Kind, Part, accent, detail, main
from tools.prior.shapes import Solid, arc, ball, box, cone, cylinder, extrude, lathe, torus, tube


def mug(d: Draw) -> list[Part]:
    r, h, t = d.uniform(0.4, 0.5), d.uniform(0.85, 1.1), 0.06
    foot, belly = r * d.uniform(0.8, 1.0), r * d.uniform(1.0, 1.12)
    profile = [(0, 0), (foot, 0), (belly, h * 0.4), (r, h), (r - t, h), (belly - t, h * 0.4), (foot - t, t), (0, t)]
    parts = [main(lathe(profile, 26))]
    parts.append(detail(cylinder(r - t * 0.9, 0.02, sides=26).at(0, h * 0.86, 0), (0.3, 0.17, 0.08)))
    grip, thick = d.uniform(0.24, 0.32), d.uniform(0.06, 0.085)
    path = [(x, y, 0.0) for x, y in arc((belly - 0.04, h * 0.5), (grip + 0.04, h * 0.3), (-90, 90), 9)]
    parts.append(accent(tube(path, thick, 10)))
    return parts


def barrel(d: Draw) -> list[Part]:
    r, h, bulge = d.uniform(0.42, 0.5), d.uniform(1.15, 1.35), d.uniform(1.15, 1.3)
    steps = [i / 8 for i in range(9)]
    wide = [r * (1 + (bulge - 1) * math.sin(math.pi * s)) for s in steps]
    parts = [main(lathe([*((w, h * s) for w, s in zip(wide, steps, strict=True)), (r * 0.86, h), (r * 0.86, h - 0.07), (0, h - 0.07)], 24))]
    hoops = d.pick([(0.08, 0.3, 0.7, 0.92), (0.06, 0.25, 0.75, 0.94), (0.1, 0.5, 0.9)])
    for s in hoops:
        w = r * (1 + (bulge - 1) * math.sin(math.pi * s))
        parts.append(accent(cylinder(w * 1.035, 0.11, sides=24).at(0, h * s, 0)))
    for i in range(12):
        a = 2 * math.pi * i / 12
        path = [(1.005 * w * math.sin(a), h * s, 1.005 * w * math.cos(a)) for w, s in zip(wide, steps, strict=True)]
        parts.append(main(tube(path, 0.013, 4), 0.55))
    return parts


def chest(d: Draw) -> list[Part]:
    w, low, deep = d.uniform(1.2, 1.4), d.uniform(0.42, 0.52), d.uniform(0.75, 0.9)
    rise = d.uniform(0.28, 0.38)
    parts = [main(box(w, low, deep, 0.02).at(0, low / 2, 0))]
    round_top = [(-deep / 2, 0.0), *arc((0, 0), (deep / 2, rise), (0, 180), 11)[:-1]]
    lid = extrude(round_top, w).turn("y", 90)
    parts.append(main(lid.at(0, low + 0.02, 0), 0.94))
    bands = d.pick([(-0.44, 0.44), (-0.44, 0.0, 0.44), (-0.3, 0.3)])
    ring = [
        (-deep * 0.52, 0.0),
        (deep * 0.52, 0.0),
        *[(x * 1.045, y * 1.06 + low) for x, y in arc((0, 0.02), (deep / 2, rise), (0, 180), 11)],
    ]
    parts += [accent(extrude(ring, 0.12).turn("y", 90).at(b * w, 0, 0)) for b in bands]
    parts.append(accent(box(w * 1.02, 0.07, deep * 1.03).at(0, low, 0)))
    parts.append(detail(box(0.28, 0.32, 0.16, 0.02).at(0, low - 0.04, deep / 2 + 0.03), GOLD))
    parts.append(detail(box(0.08, 0.14, 0.04).at(0, low - 0.07, deep / 2 + 0.11), BLACK))
    return parts


def teapot(d: Draw) -> list[Part]:
    r, squash = d.uniform(0.48, 0.55), d.uniform(0.75, 0.95)
    y = r * squash
    parts = [main(ball(r, r * squash, r, 24).at(0, y, 0)), main(cylinder(r * 0.6, 0.08, sides=20).at(0, 0.03, 0), 0.85)]
    parts.append(accent(lathe([(r * 0.5, 0), (r * 0.4, 0.09), (0, 0.16)], 20).at(0, y * 1.86, 0)))
    parts.append(accent(ball(0.1, sides=12).at(0, y * 1.86 + 0.22, 0)))
    spout = [(r * 0.75, y * 0.7, 0.0), (r * 1.2, y * 0.95, 0.0), (r * 1.42, y * 1.5, 0.0), (r * 1.66, y * 1.85, 0.0)]
    parts.append(main(tube(spout, [0.17, 0.12, 0.08, 0.075], 12)))
    grip = [(x, z, 0.0) for x, z in arc((-r * 0.85, y * 1.05), (r * 0.62, y * 0.62), (78, 282), 11)]
    parts.append(accent(tube(grip, d.uniform(0.06, 0.08), 10)))
    return parts


def crate(d: Draw) -> list[Part]:
    w, h, deep = d.uniform(0.85, 1.05), d.uniform(0.75, 1.05), d.uniform(0.85, 1.05)
    parts = [main(box(w, h, deep, 0.01).at(0, h / 2, 0))]
    edge, out = d.uniform(0.07, 0.1), 0.02
    for sx in (-1, 1):
        for sz in (-1, 1):
            parts.append(
                accent(box(edge, h + 2 * out, edge, 0.01).at(sx * (w - edge + 2 * out) / 2, h / 2, sz * (deep - edge + 2 * out) / 2))
            )
    for y in (edge / 2 - out, h - edge / 2 + out):
        parts += [accent(box(w, edge, edge, 0.01).at(0, y, s * (deep - edge + 2 * out) / 2)) for s in (-1, 1)]
        parts += [accent(box(edge, edge, deep, 0.01).at(s * (w - edge + 2 * out) / 2, y, 0)) for s in (-1, 1)]
    if d.chance(0.5):
        slope = math.degrees(math.atan2(h, w))
        parts += [
            main(box(math.hypot(w, h) * 0.92, edge, 0.04, 0.01).turn("z", slope).at(0, h / 2, s * (deep / 2 + 0.005)), 0.8) for s in (-1, 1)
        ]
        slope = math.degrees(math.atan2(h, deep))
        parts += [
            main(box(0.04, edge, math.hypot(deep, h) * 0.92, 0.01).turn("x", slope).at(s * (w / 2 + 0.005), h / 2, 0), 0.8) for s in (-1, 1)
        ]
    return parts


def snowman(d: Draw) -> list[Part]:
    low, mid, head = d.uniform(0.42, 0.48), d.uniform(0.3, 0.35), d.uniform(0.22, 0.26)
    y1 = low * 0.9 + low * 0.72
    y2 = y1 + mid * 0.6 + head * 0.85
    parts = [main(ball(low).at(0, low * 0.9, 0)), main(ball(mid).at(0, y1, 0)), main(ball(head).at(0, y2, 0))]
    parts.append(detail(cone(0.08, d.uniform(0.28, 0.38), 10).turn("x", 90).at(0, y2, head + 0.1), (0.95, 0.5, 0.1)))
    parts += [detail(ball(0.055, sides=8).at(s * 0.1, y2 + 0.08, head * 0.88), BLACK) for s in (-1, 1)]
    parts += [
        detail(ball(0.06, sides=8).at(0, y1 - 0.1 + 0.13 * i, mid * (1.0 - 0.05 * abs(i - 1))), BLACK) for i in range(d.integer(2, 3))
    ]
    parts.append(accent(torus(head * 0.8, 0.075, 20, 8).at(0, y2 - head * 0.75, 0)))
    parts.append(accent(box(0.14, 0.34, 0.09).turn("z", -8).at(0.13, y2 - head * 0.75 - 0.18, mid * 0.88)))
    if d.chance(0.7):
        parts.append(accent(cylinder(head * 1.3, 0.05).at(0, y2 + head * 0.75, 0)))
        parts.append(accent(cylinder(head * 0.8, 0.3).at(0, y2 + head * 0.75 + 0.16, 0)))
    for s in (-1, 1):
        arm = [(s * mid * 0.8, y1 + 0.05, 0), (s * (mid + 0.3), y1 + d.uniform(0.1, 0.3), 0.05)]
        parts.append(detail(tube(arm, [0.035, 0.025], 6), (0.35, 0.22, 0.12)))
    return parts


def robot(d: Draw) -> list[Part]:
    w, h, deep, head = d.uniform(0.55, 0.7), d.uniform(0.5, 0.65), d.uniform(0.36, 0.44), d.uniform(0.34, 0.44)
    leg = d.uniform(0.3, 0.42)
    y = leg + h / 2
    parts = [main(box(w, h, deep, 0.05).at(0, y, 0))]
    top = leg + h + 0.08
    parts.append(detail(cylinder(0.1, 0.14, sides=12).at(0, top - 0.05, 0), DARK))
    hy = top + head * 0.42
    if d.chance(0.65):
        parts.append(main(box(head * 1.2, head * 0.85, head, 0.05).at(0, hy, 0)))
    else:
        parts.append(main(ball(head * 0.58, head * 0.52, head * 0.55).at(0, hy, 0)))
    front = head * 0.52
    parts += [
        detail(cylinder(0.09, 0.09, sides=12).turn("x", 90).at(s * head * 0.28, hy + 0.05, front), (0.98, 0.95, 0.6)) for s in (-1, 1)
    ]
    parts.append(detail(box(head * 0.6, 0.06, 0.06).at(0, hy - head * 0.24, front), BLACK))
    parts.append(detail(cylinder(0.015, 0.2, sides=6).at(0, hy + head * 0.45 + 0.06, 0), DARK))
    parts.append(accent(ball(0.055, sides=10).at(0, hy + head * 0.45 + 0.18, 0)))
    parts.append(detail(box(w * 0.55, h * 0.35, 0.04).at(0, y + 0.08, deep / 2), DARK))
    parts += [
        detail(ball(0.04, sides=8).at((i - 1) * 0.12, y + 0.08, deep / 2 + 0.02), rgb)
        for i, rgb in enumerate(((0.9, 0.2, 0.2), (0.95, 0.85, 0.2), (0.3, 0.8, 0.3)))
    ]
    for s in (-1, 1):  # a pack on its back
        parts.append(main(cylinder(0.12, h * 0.7, sides=12).at(s * 0.13, y + 0.04, -deep / 2 - 0.11), 0.85))
        parts.append(detail(cone(0.12, 0.14, 12).at(s * 0.13, y + 0.1 + h * 0.35, -deep / 2 - 0.11), DARK))
    raised = d.chance(0.3)
    for s in (-1, 1):
        shoulder, hand = (
            (s * (w / 2 + 0.07), leg + h - 0.1, 0.0),
            (s * (w / 2 + 0.2), leg + h + 0.28 if raised and s > 0 else leg + 0.08, 0.06),
        )
        parts.append(accent(ball(0.12, sides=12).at(*shoulder)))
        parts.append(accent(tube([shoulder, hand], 0.075, 10)))
        parts.append(accent(ball(0.115, sides=12).at(*hand)))
        parts.append(accent(cylinder(0.1, leg + 0.05, sides=12).at(s * w * 0.27, leg / 2, 0)))
        parts.append(accent(box(0.22, 0.12, 0.36, 0.03).at(s * w * 0.27, 0.04, 0.05)))
    return parts


def ghost(d: Draw) -> list[Part]:
    r, h, waves = d.uniform(0.42, 0.5), d.uniform(1.15, 1.35), d.integer(5, 7)
    body = lathe(
        [(0, 0.06), (r * 0.9, 0.02), (r * 1.08, 0.0), (r * 1.0, h * 0.3), (r, h * 0.62), (r * 0.86, h * 0.8), (r * 0.52, h * 0.94), (0, h)],
        28,
    )
    v = body.vertices.copy()
    angle, low = [math.atan2(x, z) for x, _, z in v], [max(0.0, 1 - y / (h * 0.3)) for y in v[:, 1]]
    for i in range(len(v)):
        swing = math.sin(waves * angle[i]) * low[i]
        v[i] = (v[i, 0] * (1 + 0.1 * swing), v[i, 1] - 0.09 * swing * (v[i, 0] ** 2 + v[i, 2] ** 2 > 0.01), v[i, 2] * (1 + 0.1 * swing))
    parts = [main(Solid(v, body.faces))]
    eye = d.uniform(0.09, 0.12)
    parts += [detail(ball(eye, eye * 1.5, 0.06, 12).at(s * r * 0.36, h * 0.7, r * 0.87), BLACK) for s in (-1, 1)]
    parts.append(detail(ball(0.11, d.uniform(0.07, 0.14), 0.07, 12).at(0, h * 0.5, r * 0.97), BLACK))
    up = d.uniform(0.0, 0.25)
    for s in (-1, 1):
        arm = [(s * r * 0.85, h * 0.45, 0.05), (s * (r + 0.18), h * 0.45 + up * 0.5, 0.14), (s * (r + 0.28), h * 0.45 + up, 0.2)]
        parts.append(main(tube(arm, [0.13, 0.1, 0.06], 10), 0.95))
    if d.chance(0.6):
        parts.append(accent(cylinder(r * 0.95, 0.05).at(0, h * 0.92, 0)))
        parts.append(accent(cylinder(r * 0.55, 0.36, top=r * 0.5).at(0, h * 0.92 + 0.18, 0)))
    else:
        parts.append(accent(cone(r * 0.52, 0.55).at(0, h * 0.92 + 0.24, 0)))
    return parts


KINDS = {
    "mug": Kind(("mug", "cup"), "handle", False, ("white", "white"), mug, portable=True),
    "barrel": Kind(("barrel", "keg"), "hoops", True, ("brown", "grey"), barrel, carries=0.75, sided=False),
    "chest": Kind(("chest",), "bands", True, ("brown", "yellow"), chest),
    "teapot": Kind(("teapot", "kettle"), "handle", False, ("white", "blue"), teapot, portable=True),
    "box": Kind(("box", "crate"), "edges", True, ("brown", "brown"), crate, carries=0.85, sided=False),
    "snowman": Kind(("snowman",), "hat", False, ("white", "red"), snowman, portable=True),
    "robot": Kind(("robot", "android"), "limbs", True, ("grey", "blue"), robot, portable=True),
    "ghost": Kind(("ghost", "spirit"), "hat", False, ("white", "black"), ghost, portable=True),
}
