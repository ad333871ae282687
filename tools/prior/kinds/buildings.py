"""Buildings: house, castle, lighthouse, windmill, tent, well. Their doors face +Z."""

from __future__ import annotations

from tools.prior.parts import BLACK, DARK, GLASS, IRON, WOOD, Draw, Kind, Part, accent, around, detail, main, on_circle
from tools.prior.shapes import arc, box, cone, cylinder, extrude, lathe, tube


def _door(w: float, h: float, z: float, rgb: tuple[float, float, float] = WOOD) -> Part:
    outline = [(-w / 2, 0.0), (w / 2, 0.0), *arc((0, h - w / 2), (w / 2, w / 2), (0, 180), 7)]
    return detail(extrude(outline, 0.05).at(0, 0, z), rgb)


def house(d: Draw) -> list[Part]:
    w, h, deep, roof = d.uniform(1.0, 1.3), d.uniform(0.6, 0.9), d.uniform(0.9, 1.2), d.uniform(0.4, 0.65)
    parts = [main(box(w, h, deep, 0.01).at(0, h / 2, 0))]
    if d.chance(0.7):
        gable = [(-w / 2, h - 0.01), (w / 2, h - 0.01), (0.0, h + roof * 0.92)]
        parts.append(main(extrude(gable, deep), 0.95))
        for s in (-1, 1):
            slab = extrude(
                [(-0.1, h + roof), (s * (w / 2 + 0.12), h - 0.1), (s * (w / 2 + 0.12), h - 0.01), (0.0, h + roof + 0.1)][
                    :: (1 if s > 0 else -1)
                ],
                deep + 0.2,
            )
            parts.append(accent(slab))
    else:
        parts.append(accent(cylinder(w * 0.82, roof, top=0.12, sides=4).turn("y", 45).scaled(1, 1, deep / w).at(0, h + roof / 2, 0)))
    parts.append(_door(0.32, h * 0.68, deep / 2 + 0.02))
    if d.chance(0.6):
        parts.append(accent(box(0.52, 0.07, 0.3).turn("x", 14).at(0, h * 0.78, deep / 2 + 0.13)))
        parts += [detail(box(0.05, h * 0.78, 0.05).at(s * 0.21, h * 0.39, deep / 2 + 0.22), WOOD) for s in (-1, 1)]
    parts.append(detail(box(0.52, 0.08, 0.3).at(0, 0.04, deep / 2 + 0.14), (0.6, 0.6, 0.6)))
    for s in (-1, 1):
        parts.append(detail(box(0.22, 0.26, 0.06).at(s * w * 0.34, h * 0.55, deep / 2), GLASS))
        parts += [detail(box(0.04, 0.22, 0.2).at(s * w / 2, h * 0.55, z), GLASS) for z in (-deep * 0.25, deep * 0.25)]
    if d.chance(0.6):
        parts.append(detail(box(0.2, 0.55, 0.2).at(w * 0.28, h + roof * 0.75, -deep * 0.32), (0.55, 0.3, 0.25)))
    return parts


def _tower(x: float, z: float, r: float, h: float, top: str, sides: int = 14) -> list[Part]:
    parts = [main(cylinder(r, h, sides=sides).at(x, h / 2, z))]
    if top == "roof":
        parts.append(accent(cone(r * 1.3, r * 2.4, sides=sides).at(x, h + r * 1.2, z)))
    else:
        parts.append(main(cylinder(r * 1.18, 0.1, sides=sides).at(x, h, z), 0.92))
        for i in range(6):
            dx, dz = on_circle(60 * i, r * 1.02)
            parts.append(main(box(r * 0.5, 0.13, r * 0.4).turn("y", 60 * i).at(x + dx, h + 0.1, z + dz)))
    return parts


def castle(d: Draw) -> list[Part]:
    w, wall, r = d.uniform(1.2, 1.5), d.uniform(0.45, 0.6), d.uniform(0.18, 0.23)
    h, top = d.uniform(0.75, 0.95), d.pick(["roof", "roof", "teeth"])
    parts = []
    for sx in (-1, 1):
        for sz in (-1, 1):
            parts += _tower(sx * w / 2, sz * w / 2, r, h * (1.0 if sz > 0 else 1.25), top)
        parts += _tower(sx * 0.3, w / 2 + 0.12, 0.14, wall * 1.2, "teeth", 10)
    for a in (0, 90, 180, 270):
        parts.append(main(box(w, wall, 0.14).at(0, wall / 2, w / 2).turn("y", a), 0.92))
        teeth = 4
        parts += [main(box(w * 0.12, 0.12, 0.14).at((i - 1.5) * w * 0.2, wall + 0.05, w / 2).turn("y", a)) for i in range(teeth)]
    keep = d.uniform(0.9, 1.25)
    parts.append(main(box(w * 0.5, keep, w * 0.34).at(0, keep / 2, -w * 0.24)))
    parts.append(accent(cylinder(w * 0.36, 0.38, top=0.01, sides=4).turn("y", 45).scaled(1.15, 1, 0.8).at(0, keep + 0.18, -w * 0.24)))
    parts.append(_door(0.42, wall * 0.95, w / 2 + 0.12, BLACK))
    parts.append(detail(box(0.42, 0.05, 0.4).turn("x", 10).at(0, 0.05, w / 2 + 0.32), WOOD))
    parts += [detail(box(0.12, 0.22, 0.06).at(s * w * 0.13, keep * 0.82, -w * 0.07), BLACK) for s in (-1, 1)]
    return parts


def lighthouse(d: Draw) -> list[Part]:
    r, h, top = d.uniform(0.3, 0.38), d.uniform(1.2, 1.5), d.uniform(0.18, 0.22)
    bands = d.integer(4, 5)
    edges = [(r + (top - r) * i / bands, h * i / bands) for i in range(bands + 1)]
    parts = []
    for i in range(bands):
        (r0, y0), (r1, y1) = edges[i], edges[i + 1]
        parts.append((main if i % 2 == 0 else accent)(cylinder(r0, y1 - y0, top=r1, sides=22).at(0, (y0 + y1) / 2, 0)))
    parts.append(main(cylinder(r * 1.35, 0.1, sides=22).at(0, 0.05, 0), 0.8))
    parts.append(main(cylinder(top * 1.5, 0.06, sides=22).at(0, h + 0.03, 0)))
    parts.append(detail(cylinder(top * 0.85, 0.22, sides=14).at(0, h + 0.16, 0), (1.0, 0.92, 0.5)))
    parts += around(
        8, lambda a: detail(cylinder(0.012, 0.15, sides=5).at(on_circle(a, top * 1.4)[0], h + 0.12, on_circle(a, top * 1.4)[1]), DARK)
    )
    parts.append(main(cone(top * 1.25, d.uniform(0.2, 0.32), sides=22).at(0, h + 0.38, 0)))
    parts.append(_door(0.26, 0.46, r - 0.02, WOOD))
    parts += [detail(box(0.11, 0.14, 0.06).at(0, h * s, r + (top - r) * s), GLASS) for s in (0.5, 0.75)]
    return parts


def windmill(d: Draw) -> list[Part]:
    r, h, top = d.uniform(0.36, 0.45), d.uniform(0.95, 1.2), d.uniform(0.22, 0.27)
    sides = d.pick([8, 20])
    parts = [main(cylinder(r, h, top=top, sides=sides).at(0, h / 2, 0))]
    parts.append(detail(cone(top * 1.25, 0.34, sides=sides).at(0, h + 0.17, 0), (0.45, 0.25, 0.18)))
    hub, z, long = h * 0.96, top + 0.16, d.uniform(0.68, 0.82)
    parts.append(detail(cylinder(0.06, 0.3, sides=10).turn("x", 90).at(0, hub, z - 0.1), DARK))
    start, wide = d.uniform(0, 90), d.uniform(0.17, 0.23)
    for i in range(4):
        sail = box(wide, long * 0.78, 0.03).at(wide * 0.4, long * 0.58, 0)
        parts.append(accent(sail.turn("z", start + 90 * i).at(0, hub, z)))
        parts.append(detail(box(0.04, long, 0.05).at(0, long / 2, 0).turn("z", start + 90 * i).at(0, hub, z), WOOD))
    parts.append(_door(0.26, 0.4, r * 0.97))
    parts.append(detail(box(0.17, 0.19, 0.07).at(0, h * 0.58, (r + top) / 2 - 0.01), GLASS))
    tail = (0.0, hub * 0.55, -r - d.uniform(0.25, 0.4))
    parts.append(detail(tube([(0, hub, -top * 0.6), tail], 0.035, 6), WOOD))
    return parts


def tent(d: Draw) -> list[Part]:
    w, h, deep = d.uniform(1.1, 1.4), d.uniform(0.85, 1.1), d.uniform(1.2, 1.5)
    if d.chance(0.6):
        outline = [(-w / 2, 0.0), (w / 2, 0.0), (0.0, h)]
        parts = [main(extrude(outline, deep))]
        flap = [(-w * 0.24, 0.0), (w * 0.24, 0.0), (0.0, h * 0.86)]
        parts.append(detail(extrude(flap, 0.03).at(0, 0, deep / 2 + 0.005), BLACK))
        for s in (-1, 1):
            fold = (
                extrude([(0.0, 0.0), (w * 0.24, 0.0), (0.0, h * 0.82)], 0.06)
                .scaled(s, 1, 1)
                .turn("y", s * -40)
                .at(s * w * 0.24, 0, deep / 2 + 0.03)
            )
            parts.append(accent(fold))
        parts.append(accent(box(0.09, 0.06, deep * 1.03).at(0, h, 0)))
        parts += [accent(box(0.06, 0.07, deep * 1.02).at(s * w / 2, 0.03, 0)) for s in (-1, 1)]
    else:
        r = w * 0.55
        parts = [main(cylinder(r, h * 0.35, sides=12).at(0, h * 0.175, 0))]
        parts.append(main(lathe([(r * 1.1, h * 0.32), (r * 0.5, h * 0.62), (0, h * 1.1)], 12), 0.92))
        parts += around(
            12, lambda a: accent(cone(0.1, 0.16, 6).turn("x", 180).at(on_circle(a, r * 1.06)[0], h * 0.27, on_circle(a, r * 1.06)[1]))
        )
        parts.append(detail(extrude([(-0.22, 0.0), (0.22, 0.0), (0.0, h * 0.5)], 0.08).at(0, 0, r), BLACK))
        parts.append(accent(box(0.6, 0.05, 0.42).turn("x", 12).at(0, h * 0.5, r + 0.16)))
        parts += [detail(cylinder(0.03, h * 0.46, sides=6).at(s * 0.26, h * 0.23, r + 0.32), WOOD) for s in (-1, 1)]
        parts += [detail(box(0.06, h * 0.18, 0.26).at(s * r, h * 0.2, 0), GLASS) for s in (-1, 1)]
        parts.append(accent(tube([(0, h, 0), (0, h * 1.3, 0)], 0.025, 6)))
        parts.append(accent(extrude([(0.0, 0.0), (0.24, 0.07), (0.0, 0.14)], 0.02).at(0, h * 1.15, 0)))
    return parts


def well(d: Draw) -> list[Part]:
    r, wall, post = d.uniform(0.52, 0.6), d.uniform(0.52, 0.68), d.uniform(1.1, 1.25)
    ring = lathe([(0, 0), (r, 0), (r, wall), (r * 0.78, wall), (r * 0.78, 0.1), (0, 0.1)])
    parts = [main(ring), detail(cylinder(r * 0.76, 0.02).at(0, wall * 0.7, 0), (0.15, 0.3, 0.4))]
    parts += [detail(box(0.09, post, 0.09).at(s * r * 0.88, post / 2, 0), WOOD) for s in (-1, 1)]
    rise, over = d.uniform(0.22, 0.32), r * 1.2
    for s in (-1, 1):
        slab = [(0.0, 0.08), (0.0, 0.0), (over * 0.72, -rise), (over * 0.76, -rise + 0.07)]
        panel = extrude(slab, over * 1.25).turn("y", -90).scaled(1, 1, s)
        parts.append(accent(panel.at(0, post + rise, 0)))
    parts.append(detail(cylinder(0.05, r * 1.8, sides=10).turn("z", 90).at(0, post * 0.82, 0), WOOD))
    parts.append(detail(cylinder(0.015, 0.3, sides=6).at(0, post * 0.82 - 0.15, 0), DARK))
    parts.append(detail(cylinder(0.09, 0.15, top=0.12, sides=12).at(0, post * 0.82 - 0.35, 0), IRON))
    return parts


KINDS = {
    "house": Kind(("house", "cottage"), "roof", False, ("white", "red"), house),
    "castle": Kind(("castle", "fortress"), "roofs", True, ("grey", "blue"), castle),
    "lighthouse": Kind(("lighthouse",), "bands", True, ("white", "red"), lighthouse, sided=False),
    "windmill": Kind(("windmill",), "sails", True, ("white", "brown"), windmill),
    "tent": Kind(("tent",), "edges", True, ("orange", "white"), tent),
    "well": Kind(("well",), "roof", False, ("grey", "red"), well, sided=False),
}
