"""Lines with a spread at each point over two logarithmic axes, as an SVG file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tools.bench.records import shown

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 480, 40, 350  # of the axes
COLORS = ("#1b6ca8", "#c8553d", "#588b3a", "#8a5a9e", "#b08900", "#4d4d4d")
_TEXT = 'font-family="sans-serif" font-size="12" fill="#222222"'


@dataclass(frozen=True)
class Point:
    """A place on the axis, its median, and the ends of its spread; all above zero."""

    place: float
    median: float
    low: float
    high: float


def plot(title: str, axis: str, unit: str, curves: dict[str, Sequence[Point]]) -> str:
    """An SVG document of the curves, each with its name; `axis` names what goes to the right, `unit` what goes up."""
    points = [point for curve in curves.values() for point in curve]
    across = _Scale([point.place for point in points], LEFT, RIGHT)
    up = _Scale([value for point in points for value in (point.low, point.median, point.high)], BOTTOM, TOP)
    places = sorted({point.place for point in points})
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" {_TEXT} font-weight="bold">{escape(title)}</text>',
        *(_tick(f"{place:,g}" if place < 1e6 else f"{place / 1e6:.3g} M", across.at(place), True) for place in places),
        *(_tick(f"{value:g}", up.at(value), False) for value in up.ticks()),
        f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 38}" text-anchor="middle" {_TEXT}>{escape(axis)}</text>',
        f'<text x="16" y="{TOP - 8}" {_TEXT}>{escape(unit)}</text>',
    ]
    for index, (name, curve) in enumerate(curves.items()):
        body += _curve(name, sorted(curve, key=lambda point: point.place), index, across, up, unit)
    return "\n".join([*body, "</svg>", ""])


class _Scale:
    """From values to pixels, by their logarithms."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        if min(values) <= 0:
            raise ValueError(f"a logarithmic axis has no place for {min(values)}")
        self.low, self.high = math.log10(min(values)), math.log10(max(values))
        if self.high - self.low < 0.3:  # a factor of two, where values lie closer or are the same
            self.low, self.high = self.low - 0.15, self.high + 0.15
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """One, two and five times powers of ten within the ends; powers of ten alone over more than three decades."""
        steps = (1, 2, 5) if self.high - self.low <= 3 else (1,)
        exact = (step * 10.0**power for power in range(math.floor(self.low), math.ceil(self.high) + 1) for step in steps)
        return [value for value in exact if self.low <= math.log10(value) <= self.high]


def _tick(text: str, place: float, across: bool) -> str:
    ends = f'x1="{place}" y1="{TOP}" x2="{place}" y2="{BOTTOM}"' if across else f'x1="{LEFT}" y1="{place}" x2="{RIGHT}" y2="{place}"'
    spot = f'x="{place}" y="{BOTTOM + 18}" text-anchor="middle"' if across else f'x="{LEFT - 6}" y="{place + 4}" text-anchor="end"'
    return f'<line {ends} stroke="#dddddd"/><text {spot} {_TEXT}>{text}</text>'


def _curve(name: str, points: Sequence[Point], index: int, across: _Scale, up: _Scale, unit: str) -> Iterator[str]:
    color, y = COLORS[index % len(COLORS)], TOP + 12 + 20 * index
    way = " ".join(f"{across.at(point.place)},{up.at(point.median)}" for point in points)
    yield f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="2"/>'
    for point in points:
        x, told = across.at(point.place), f"{name}, {point.place:,.0f}: {shown(point.median)} {unit}"
        yield f'<line x1="{x}" y1="{up.at(point.low)}" x2="{x}" y2="{up.at(point.high)}" stroke="{color}"/>'
        yield f'<circle cx="{x}" cy="{up.at(point.median)}" r="3.5" fill="{color}"><title>{escape(told)}</title></circle>'
    yield f'<line x1="{RIGHT + 14}" y1="{y - 4}" x2="{RIGHT + 34}" y2="{y - 4}" stroke="{color}" stroke-width="2"/>'
    yield f'<text x="{RIGHT + 40}" y="{y}" {_TEXT}>{escape(name)}</text>'
