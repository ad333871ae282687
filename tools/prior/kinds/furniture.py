"""Furniture: chair, table, bed, sofa, lamp, bookshelf."""

from __future__ import annotations

from tools.prior.parts import WHITE, WOOD, Draw, Kind, Part, accent, detail, main
from tools.prior.shapes import ball, box, cylinder, lathe


def _legs(d: Draw, width: float, depth: float, top: float, thick: float) -> list[Part]:
    """Four legs from y = 0 to `top`: square, round or tapered."""
    style, x, z = d.integer(0, 2), width / 2 - thick / 2, depth / 2 - thick / 2
    leg = (box(thick, top, thick), cylinder(thick / 2, top, sides=12), cylinder(thick * 0.3, top, top=thick * 0.6, sides=12))[style]
    return [accent(leg.at(sx * x, top / 2, sz * z)) for sx in (-1, 1) for sz in (-1, 1)]


def chair(d: Draw) -> list[Part]:
    w, deep, seat, thick = d.near(0.8), d.near(0.78), d.near(0.75), d.uniform(0.07, 0.12)
    back = d.uniform(0.75, 1.05)
    parts = [*_legs(d, w, deep, seat, d.uniform(0.08, 0.13)), main(box(w, thick, deep).at(0, seat, 0))]
    z = -deep / 2 + thick / 2
    if d.chance(0.5):
        parts.append(main(box(w, back, thick).turn("x", -d.uniform(0, 8)).at(0, seat + back / 2, z)))
    else:
        bars = d.integer(2, 4)
        parts += [main(box(thick, back, thick).at(s * (w - thick) / 2, seat + back / 2, z)) for s in (-1, 1)]
        parts += [main(box(w, back / bars * 0.6, thick * 0.7).at(0, seat + back * (i + 0.65) / bars, z), 0.92) for i in range(bars)]
    if d.chance(0.3):
        arm = d.uniform(0.3, 0.4)
        parts += [main(box(thick, thick, deep).at(s * (w - thick) / 2, seat + arm, 0)) for s in (-1, 1)]
        parts += [main(box(thick, arm, thick).at(s * (w - thick) / 2, seat + arm / 2, deep / 2 - thick)) for s in (-1, 1)]
    return parts


def table(d: Draw) -> list[Part]:
    w, deep, h, thick = d.uniform(1.3, 1.7), d.uniform(0.8, 1.1), d.uniform(0.65, 0.95), d.uniform(0.08, 0.14)
    if d.chance(0.35):
        r = w / 2
        foot = d.uniform(0.3, 0.5)
        stem = lathe([(foot, 0), (foot, 0.06), (0.1, 0.14), (0.09, h - 0.2), (0.25, h)])
        return [accent(stem), main(cylinder(r, thick, bevel=0.02, sides=28).at(0, h, 0))]
    parts = [*_legs(d, w * 0.94, deep * 0.94, h, d.uniform(0.09, 0.15)), main(box(w, thick, deep).at(0, h, 0))]
    if d.chance(0.4):
        parts.append(main(box(w * 0.86, 0.12, deep * 0.86).at(0, h - 0.1, 0), 0.85))
    return parts


def bed(d: Draw) -> list[Part]:
    w, long, low = d.uniform(0.85, 1.2), d.uniform(1.6, 1.9), d.uniform(0.18, 0.3)
    head = d.uniform(0.65, 0.95)
    parts = [detail(box(w, 0.18, long).at(0, low, 0), WOOD)]
    parts += [
        detail(box(0.1, low, 0.1).at(sx * (w / 2 - 0.06), low / 2 - 0.05, sz * (long / 2 - 0.06)), WOOD) for sx in (-1, 1) for sz in (-1, 1)
    ]
    parts += [main(box(w, head, 0.1).at(0, head / 2, -long / 2)), main(box(w, head * 0.5, 0.09).at(0, head * 0.25, long / 2))]
    parts.append(main(box(w * 0.96, 0.22, long * 0.66, 0.07).at(0, low + 0.17, long * 0.16)))
    parts.append(detail(box(w * 0.92, 0.16, long * 0.94, 0.05).at(0, low + 0.15, 0), WHITE))
    pillows = d.integer(1, 2)
    wide = w * 0.8 / pillows
    parts += [
        accent(box(wide * 0.9, 0.16, 0.34, 0.07).at((i - (pillows - 1) / 2) * wide, low + 0.28, -long * 0.36)) for i in range(pillows)
    ]
    return parts


def sofa(d: Draw) -> list[Part]:
    w, deep, low, arm = d.uniform(1.5, 1.9), d.uniform(0.7, 0.85), 0.14, d.uniform(0.18, 0.28)
    seat, back = d.uniform(0.28, 0.36), d.uniform(0.75, 0.95)
    high = d.uniform(0.5, 0.62)
    parts = [main(box(w, seat - 0.02, deep).at(0, low + seat / 2, 0), 0.88)]
    parts.append(main(box(w - arm, back, 0.25, 0.08).turn("x", -6).at(0, low + back / 2, -deep / 2 + 0.1)))
    if d.chance(0.5):
        parts += [main(box(arm, high, deep, 0.07).at(s * (w - arm) / 2, low + high / 2, 0)) for s in (-1, 1)]
    else:
        parts += [main(box(arm * 0.8, high - 0.1, deep, 0.03).at(s * (w - arm) / 2, low + high / 2 - 0.05, 0)) for s in (-1, 1)]
        parts += [main(cylinder(arm * 0.6, deep).turn("x", 90).at(s * (w - arm) / 2, low + high, 0)) for s in (-1, 1)]
    count = d.integer(2, 3)
    wide = (w - 2 * arm) / count
    for i in range(count):
        parts.append(accent(box(wide * 0.96, 0.17, deep * 0.75, 0.06).at((i - (count - 1) / 2) * wide, low + seat + 0.06, 0.08)))
    parts += [
        detail(cylinder(0.05, low * 1.2, sides=10).at(sx * w * 0.44, low / 2, sz * deep * 0.4), WOOD) for sx in (-1, 1) for sz in (-1, 1)
    ]
    return parts


def lamp(d: Draw) -> list[Part]:
    h, r, top = d.uniform(0.75, 1.1), d.uniform(0.42, 0.55), d.uniform(0.2, 0.3)
    shade = d.uniform(0.5, 0.65)
    base = d.uniform(0.26, 0.36)
    stem = [
        lathe([(base, 0), (base, 0.06), (0.05, 0.12), (0.045, h)]),
        lathe([(base * 0.8, 0), (base, 0.2), (base * 0.7, 0.42), (0.06, 0.55), (0.05, h)]),
    ][d.integer(0, 1)]
    cover = lathe([(r, h - 0.1), (top, h - 0.1 + shade), (top - 0.03, h - 0.1 + shade), (r - 0.03, h - 0.1)])
    return [accent(stem), main(cover), detail(ball(0.1).at(0, h, 0), (1.0, 0.95, 0.7))]


def bookshelf(d: Draw) -> list[Part]:
    w, h, deep, t = d.uniform(0.8, 1.05), d.uniform(1.4, 1.7), d.uniform(0.32, 0.42), 0.07
    rows = d.integer(3, 4)
    parts = [main(box(t, h, deep).at(s * (w - t) / 2, h / 2, 0)) for s in (-1, 1)]
    parts += [main(box(w, t, deep).at(0, t / 2 + (h - t) * i / rows, 0)) for i in range(rows + 1)]
    parts.append(main(box(w, h, 0.05).at(0, h / 2, -deep / 2 + 0.025), 0.9))
    gap = (h - t) / rows
    for row in range(rows):
        x = -w / 2 + t + 0.02
        while x < w / 2 - t - 0.1:
            wide, tall = d.uniform(0.06, 0.12), d.uniform(0.55, 0.85) * (gap - t)
            if d.chance(0.8):
                shade = d.uniform(0.75, 1.0)
                book = box(wide * 0.92, tall, deep * 0.75).at(x + wide / 2, t + gap * row + tall / 2, 0.03)
                parts.append(accent(book, shade))
            x += wide
    return parts


KINDS = {
    "chair": Kind(("chair",), "legs", True, ("brown", "brown"), chair, portable=True),
    "table": Kind(("table", "desk"), "legs", True, ("brown", "brown"), table, carries=0.5, sided=False),
    "bed": Kind(("bed",), "pillows", True, ("blue", "white"), bed),
    "sofa": Kind(("sofa", "couch"), "cushions", True, ("grey", "grey"), sofa),
    "lamp": Kind(("lamp",), "base", False, ("white", "brown"), lamp, portable=True, sided=False),
    "bookshelf": Kind(("bookshelf", "bookcase"), "books", True, ("brown", "red"), bookshelf),
}
