"""Vehicles: car, truck, boat, airplane, rocket, tank, helicopter. Their noses point to +Z."""

from __future__ import annotations

from tools.prior.parts import BLACK, DARK, GLASS, IRON, WHITE, Draw, Kind, Part, accent, around, detail, main
from tools.prior.shapes import Solid, ball, box, cone, cylinder, extrude, lathe, tube


def _side(outline: list[tuple[float, float]], width: float, bevel: float = 0.0) -> Solid:
    """An outline of (z, y), counter-clockwise seen from +X with z leftwards, drawn out across x."""
    return extrude([(z, y) for z, y in outline], width, bevel).turn("y", -90)


def _wheels(x: float, zs: list[float], r: float, wide: float) -> list[Part]:
    made = []
    for z in zs:
        for s in (-1, 1):
            made.append(accent(cylinder(r, wide, sides=18, bevel=0.02).turn("z", 90).at(s * x, r, z)))
            made.append(detail(cylinder(r * 0.5, 0.03, sides=14).turn("z", 90).at(s * (x + wide / 2), r, z), IRON))
    return made


def car(d: Draw) -> list[Part]:
    long, w, r = d.uniform(1.7, 2.0), d.uniform(0.75, 0.9), d.uniform(0.19, 0.25)
    body, cabin = d.uniform(0.3, 0.38), d.uniform(0.28, 0.4)
    y, front, back = r * 0.8, d.uniform(0.0, 0.12) * long, -d.uniform(0.38, 0.46) * long
    top = y + body + cabin
    parts = [main(box(w, body, long, 0.08).at(0, y + body / 2, 0))]
    glass = [(back - 0.05, y + body - 0.02), (front + 0.12, y + body - 0.02), (front - 0.12, top), (back + 0.12, top)]
    parts.append(detail(_side(glass, w * 0.86, 0.03), GLASS))
    parts.append(main(box(w * 0.88, 0.07, front - back - 0.2, 0.02).at(0, top, (front + back) / 2)))
    for z, lean in ((front, 1), (back, -1), ((front + back) / 2, 0)):
        post = [(z + lean * 0.13, y + body - 0.02), (z - lean * 0.12, top)]
        parts += [main(tube([(s * w * 0.43, post[0][1], post[0][0]), (s * w * 0.43, post[1][1], post[1][0])], 0.035, 6)) for s in (-1, 1)]
    parts += _wheels(w / 2 - 0.03, [long * 0.31, -long * 0.31], r, 0.15)
    parts += [
        detail(cylinder(0.1, 0.1, sides=12).turn("x", 90).at(s * w * 0.34, y + body * 0.6, long / 2), (1.0, 0.95, 0.7)) for s in (-1, 1)
    ]
    parts.append(detail(box(w * 0.36, body * 0.4, 0.06).at(0, y + body * 0.55, long / 2), BLACK))
    parts.append(detail(box(w * 0.98, 0.09, 0.1).at(0, y + 0.05, long / 2), IRON))
    parts += [detail(box(0.2, 0.12, 0.05).at(s * w * 0.35, y + body * 0.65, -long / 2), (0.75, 0.1, 0.1)) for s in (-1, 1)]
    if d.chance(0.35):
        parts.append(main(box(w * 0.95, 0.05, 0.2).at(0, y + body + 0.16, -long * 0.46)))
        parts += [main(box(0.06, 0.16, 0.1).at(s * w * 0.35, y + body + 0.07, -long * 0.46)) for s in (-1, 1)]
    return parts


def truck(d: Draw) -> list[Part]:
    w, r, bed = d.uniform(0.75, 0.9), d.uniform(0.2, 0.25), d.uniform(1.0, 1.3)
    cab, high = d.uniform(0.5, 0.6), d.uniform(0.75, 0.9)
    y, z = r * 1.2, bed / 2 + 0.1
    parts = [detail(box(w * 0.8, 0.14, bed + cab).at(0, y, cab / 2), DARK)]
    parts += [main(box(w, high, cab, 0.06).at(0, y + high / 2, z + cab / 2))]
    parts.append(detail(box(w * 0.84, high * 0.36, 0.03).at(0, y + high * 0.68, z + cab), GLASS))
    parts += [detail(box(0.03, high * 0.34, cab * 0.55).at(s * w / 2, y + high * 0.68, z + cab * 0.55), GLASS) for s in (-1, 1)]
    if d.chance(0.6):
        tall = d.uniform(0.85, 1.1)
        parts.append(main(box(w * 1.04, tall, bed, 0.04).at(0, y + 0.08 + tall / 2, 0), 0.93))
    else:
        wall = d.uniform(0.25, 0.4)
        parts += [main(box(0.06, wall, bed).at(s * w / 2, y + 0.08 + wall / 2, 0)) for s in (-1, 1)]
        parts += [main(box(w, wall, 0.06).at(0, y + 0.08 + wall / 2, s * bed / 2)) for s in (-1, 1)]
        parts.append(main(box(w, 0.08, bed).at(0, y + 0.1, 0), 0.8))
    parts += _wheels(w / 2 - 0.04, [z + cab * 0.5, -bed * 0.15, -bed * 0.15 - 2.15 * r], r, 0.16)
    parts += [detail(box(0.16, 0.13, 0.06).at(s * w * 0.34, y + high * 0.22, z + cab), (1.0, 0.95, 0.7)) for s in (-1, 1)]
    parts.append(detail(box(w * 0.4, high * 0.24, 0.05).at(0, y + high * 0.24, z + cab), BLACK))
    parts.append(detail(box(w * 1.02, 0.1, 0.1).at(0, y + 0.02, z + cab), IRON))
    return parts


def boat(d: Draw) -> list[Part]:
    long, w, deep = d.uniform(1.5, 1.8), d.uniform(0.5, 0.65), d.uniform(0.32, 0.42)
    outline = [
        (-w * 0.42, -long / 2),
        (w * 0.42, -long / 2),
        (w / 2, 0.0),
        (w * 0.32, long * 0.32),
        (0.0, long / 2),
        (-w * 0.32, long * 0.32),
        (-w / 2, 0.0),
    ]
    hull = extrude(outline, deep).turn("x", 90)
    taper = 1 - 0.35 * (hull.vertices[:, 1:2] < 0)
    parts = [main(Solid(hull.vertices * taper ** [1, 0, 0.6], hull.faces))]
    parts.append(
        detail(extrude([(x * 0.82, y * 0.88) for x, y in outline], 0.03).turn("x", 90).at(0, deep / 2 + 0.005, 0), (0.65, 0.48, 0.3))
    )
    deck = deep / 2
    if d.chance(0.6):
        mast = d.uniform(1.1, 1.4)
        parts.append(detail(cylinder(0.035, mast, sides=8).at(0, deck + mast / 2, 0.08), (0.4, 0.27, 0.15)))
        aft, fore = d.uniform(0.6, 0.75), d.uniform(0.35, 0.5)
        parts.append(accent(_side([(-aft, deck + 0.18), (0.02, deck + 0.18), (0.02, deck + mast * 0.97)], 0.035)))
        parts.append(accent(_side([(0.14, deck + 0.18), (0.14 + fore, deck + 0.18), (0.14, deck + mast * 0.8)], 0.035)))
    else:
        tall = d.uniform(0.3, 0.4)
        parts.append(accent(box(w * 0.6, tall, long * 0.36).at(0, deck + tall / 2, -long * 0.08)))
        parts += [
            accent(cylinder(0.09, 0.4, sides=14).at(0, deck + tall + 0.18, -long * (0.03 + 0.16 * i))) for i in range(d.integer(1, 2))
        ]
        parts.append(detail(box(w * 0.62, tall * 0.3, long * 0.3).at(0, deck + tall * 0.65, -long * 0.08), GLASS))
    return parts


def airplane(d: Draw) -> list[Part]:
    long, r, span = d.uniform(1.4, 1.6), d.uniform(0.2, 0.25), d.uniform(1.5, 1.7)
    body = lathe([(0, long / 2), (r * 0.6, long * 0.46), (r, long * 0.34), (r, -long * 0.1), (r * 0.35, -long / 2), (0, -long / 2)])
    chord, swept = d.uniform(0.28, 0.36), d.uniform(0.0, 0.3)
    wing = [(0.0, chord), (0.0, 0.0), (span / 2, -swept), (span / 2, chord * 0.55 - swept)]
    parts = [main(body.turn("x", 90))]
    height = d.pick([-0.3, 0.0, 0.7]) * r
    for s in (-1, 1):
        parts.append(accent(extrude(wing, 0.05).turn("x", 90).scaled(s, 1, 1).at(0, height, -chord * 0.1)))
        tail = [(x * 0.38, z * 0.6) for x, z in wing]
        parts.append(accent(extrude(tail, 0.04).turn("x", 90).scaled(s, 1, 1).at(0, 0.05, -long * 0.46)))
    parts.append(main(_side([(-0.12, 0.0), (0.28, 0.0), (-0.02, 0.52), (-0.2, 0.52)], 0.06).at(0, r * 0.4, -long * 0.42)))
    parts.append(detail(ball(r * 0.75, r * 0.75, r * 1.2).at(0, r * 0.6, long * 0.3), GLASS))
    if d.chance(0.5):
        parts.append(detail(cone(0.1, 0.16, sides=10).turn("x", 90).at(0, 0, long / 2 + 0.04), DARK))
        parts += [detail(box(0.08, 0.64, 0.04).turn("z", a).at(0, 0, long / 2 + 0.03), BLACK) for a in (20, 110)]
    else:
        for s in (-1, 1):
            engine = cylinder(0.12, 0.34, top=0.08, sides=12).turn("x", -90)
            parts.append(main(engine.at(s * span * 0.22, height - 0.13, 0.12), 0.8))
            parts.append(detail(cylinder(0.09, 0.02, sides=12).turn("x", 90).at(s * span * 0.22, height - 0.13, 0.295), BLACK))
    return parts


def rocket(d: Draw) -> list[Part]:
    r, h, nose = d.uniform(0.26, 0.34), d.uniform(0.85, 1.1), d.uniform(0.36, 0.48)
    bulge = d.uniform(1.0, 1.25)
    parts = [main(lathe([(r * 0.75, 0), (r * bulge, h * 0.4), (r, h)]))]
    parts.append(accent(lathe([(r, h - 0.01), (r * 0.72, h + nose * 0.45), (0, h + nose)])))
    out = d.uniform(0.22, 0.32)
    fin = [(r * 0.6, 0.1), (r + out, -0.22), (r + out, 0.02), (r * 0.8, 0.45)]
    parts += around(3, lambda a: accent(extrude(fin, 0.06).turn("y", a - 90)), 180.0)  # one straight back
    parts.append(detail(lathe([(r * 0.6, -0.14), (r * 0.4, 0.02)]), DARK))
    parts.append(detail(cylinder(0.16, 0.1, sides=16).turn("x", 90).at(0, h * 0.75, r * 1.0), WHITE))
    parts.append(detail(cylinder(0.11, 0.14, sides=16).turn("x", 90).at(0, h * 0.75, r * 1.01), GLASS))
    if d.chance(0.5):
        parts.append(detail(cylinder(0.11, 0.1, sides=16).turn("x", 90).at(0, h * 0.42, r * bulge), WHITE))
        parts.append(detail(cylinder(0.075, 0.14, sides=16).turn("x", 90).at(0, h * 0.42, r * bulge + 0.01), GLASS))
    else:
        parts.append(detail(box(0.26, 0.36, 0.12, 0.02).at(0, h * 0.36, r * bulge), DARK))
        parts.append(detail(box(0.24, 0.05, 0.3).at(0, h * 0.36 - 0.18, r * bulge + 0.12), IRON))
    return parts


def tank(d: Draw) -> list[Part]:
    long, w, r = d.uniform(1.3, 1.5), d.uniform(0.85, 1.0), d.uniform(0.17, 0.21)
    track = [
        (-long / 2 + r, 0),
        (long / 2 - r, 0),
        (long / 2, r),
        (long / 2 - r * 0.4, 2 * r),
        (-long / 2 + r * 0.4, 2 * r),
        (-long / 2, r),
    ]
    parts = []
    for s in (-1, 1):
        parts.append(accent(_side(track, 0.24).at(s * w * 0.42, 0, 0)))
        count = d.integer(4, 4)
        for i in range(count):
            z = (i - (count - 1) / 2) * long * 0.21
            parts.append(detail(cylinder(r * 0.6, 0.05, sides=12).turn("z", 90).at(s * (w * 0.42 + 0.12), r, z), IRON))
    hull = [
        (-long * 0.47, r),
        (long * 0.44, r),
        (long * 0.53, r * 1.9),
        (long * 0.36, r * 2.9),
        (-long * 0.44, r * 2.9),
        (-long * 0.5, r * 2),
    ]
    parts.append(main(_side(hull, w * 0.74)))
    parts.append(main(box(w, 0.05, long * 0.94).at(0, 2 * r + 0.06, 0), 0.9))
    y = r * 2.9
    turret = cylinder(w * 0.34, 0.26, top=w * 0.26) if d.chance(0.5) else box(w * 0.6, 0.26, w * 0.66, 0.07)
    parts.append(main(turret.at(0, y + 0.12, -0.1)))
    gun = d.uniform(0.75, 1.0)
    parts.append(main(cylinder(0.05, gun, sides=12).turn("x", 84).at(0, y + 0.17, 0.1 + gun / 2), 0.8))
    parts.append(main(cylinder(0.075, 0.14, sides=12).turn("x", 84).at(0, y + 0.17 + gun * 0.05, 0.1 + gun * 0.96), 0.7))
    parts.append(detail(cylinder(0.1, 0.08, sides=12).at(0.1, y + 0.28, -0.15), DARK))
    return parts


def helicopter(d: Draw) -> list[Part]:
    r, tail, span = d.uniform(0.32, 0.4), d.uniform(0.8, 1.0), d.uniform(1.5, 1.8)
    parts = [main(ball(r * 0.85, r * 0.9, r * 1.35)), detail(ball(r * 0.78, r * 0.62, r * 0.8).at(0, 0.07, r * 0.72), GLASS)]
    parts.append(main(tube([(0, 0.12, -r * 0.8), (0, 0.18, -r - tail)], [0.15, 0.05])))
    parts.append(main(_side([(-0.16, -0.05), (0.14, -0.05), (-0.06, 0.34), (-0.2, 0.34)], 0.05).at(0, 0.2, -r - tail + 0.06)))
    parts += [accent(box(0.03, 0.4, 0.06).turn("x", a).at(0.06, 0.22, -r - tail + 0.02)) for a in (30, 120)]
    parts.append(detail(cylinder(0.05, 0.3, sides=10).at(0, r + 0.08, 0), DARK))
    start, blades = d.uniform(0, 90), d.integer(2, 4)
    blade = box(0.11, 0.03, span / 2).at(0, 0, span / 4)
    parts += around(blades, lambda a: accent(blade.turn("y", a).at(0, r + 0.2, 0)), start)
    for s in (-1, 1):
        x = s * r * 0.75
        parts.append(detail(tube([(x, -r - 0.16, -r), (x, -r - 0.2, r * 0.9), (x, -r - 0.1, r * 1.25)], 0.035, 8), DARK))
        parts += [detail(tube([(x * 0.6, -r * 0.6, z), (x, -r - 0.19, z)], 0.03, 6), DARK) for z in (-r * 0.5, r * 0.5)]
    return parts


KINDS = {
    "car": Kind(("car", "automobile"), "wheels", True, ("red", "black"), car, portable=True),
    "truck": Kind(("truck", "lorry"), "wheels", True, ("blue", "black"), truck),
    "boat": Kind(("boat", "ship"), "sails", True, ("brown", "white"), boat),
    "airplane": Kind(("airplane", "plane"), "wings", True, ("white", "white"), airplane),
    "rocket": Kind(("rocket", "spaceship"), "fins", True, ("white", "red"), rocket, portable=True),
    "tank": Kind(("tank",), "tracks", True, ("green", "black"), tank),
    "helicopter": Kind(("helicopter", "chopper"), "blades", True, ("yellow", "black"), helicopter),
}
