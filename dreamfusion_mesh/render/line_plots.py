"""Plots of curves over a common axis, one below the other, drawn by Pillow, as every picture in a run's folder is: no plotting package is
installed, and the SVG of the evaluation's page would need one to become pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

COLORS = ((27, 108, 168), (200, 85, 61), (88, 139, 58))
WIDTH, HEIGHT = 960, 252  # pixels of a plot
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 940, 34, 206  # of its axes
_SUPERSAMPLE = 2
_INK, _GRID, _PAPER = (34, 34, 34), (221, 221, 221), (255, 255, 255)
_TEXT, _DOT = 13, 1.4  # pixels: height of letters, a point's radius

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Curves by name, each of points from left to right; `dots`: their points alone, with the running mean as a line."""

    title: str
    curves: Mapping[str, Points]
    dots: bool = False


def line_plots(plots: Sequence[Plot], length: int, marks: Mapping[float, str], axis: str) -> np.ndarray:
    """uint8 [H, W, 3] sRGB of plots over an axis from 1 to `length`, or 11 if that is more; the y axis of each begins at zero or below.

    marks  names of places on the axis, each with a line through all plots
    axis   what the axis is called
    """
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (WIDTH * _SUPERSAMPLE, HEIGHT * _SUPERSAMPLE * len(plots)), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT * _SUPERSAMPLE)
    for number, plot in enumerate(plots):
        _Canvas(draw, font, number * HEIGHT, length, _top([value for curve in plot.curves.values() for _, value in curve])).draw(
            plot, marks, axis
        )
    return np.asarray(sheet.resize((WIDTH, HEIGHT * len(plots)), Image.Resampling.BOX))


def running_mean(points: Points, over: int) -> list[tuple[float, float]]:
    """Each point with the mean of the `over` points around it, fewer at the ends."""
    sums = np.concatenate(([0.0], np.cumsum([value for _, value in points])))
    ends = [(max(at - over // 2, 0), min(at + over // 2 + 1, len(points))) for at in range(len(points))]
    return [(place, float((sums[end] - sums[start]) / (end - start))) for (place, _), (start, end) in zip(points, ends, strict=True)]


def averaged(count: int) -> int:
    """Over how many of so many points the line through a plot's dots goes."""
    return max(count // 25, 1)


def _top(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a y axis."""
    low, high = min([0.0, *values]), max([0.0, *values])
    return low, high if high > low else low + 1.0


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round values from `low` to `high`, `count` of them at most and one more: 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


@dataclass(frozen=True)
class _Canvas:
    """One plot's place on the sheet: what is drawn there is given in its own pixels, and values."""

    pen: Any
    font: Any
    above: int
    length: int
    ends: tuple[float, float]

    def draw(self, plot: Plot, marks: Mapping[float, str], axis: str) -> None:
        for value in _ticks(1, max(self.length, 11), 10):
            self._line([(self._x(value), _TOP), (self._x(value), _BOTTOM)], _GRID)
            self._write((self._x(value), _BOTTOM + 5), f"{value:,g}", "ma")
        for value in _ticks(*self.ends, 5):
            self._line([(_LEFT, self._y(value)), (_RIGHT, self._y(value))], _GRID)
            self._write((_LEFT - 6, self._y(value)), f"{value:,.10g}", "rm")
        for place, name in marks.items():
            self._line([(self._x(place), _TOP), (self._x(place), _BOTTOM)], _INK)
            self._write((self._x(place) + 4, _TOP + 2), name, "la")
        self._line([(_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], _INK)
        self._write((_LEFT, 8), plot.title, "la")
        self._write((_RIGHT, HEIGHT - 4), axis, "rd")
        for number, (name, points) in enumerate(plot.curves.items()):
            self._curve(points, COLORS[number % len(COLORS)], plot.dots)
            if len(plot.curves) > 1:
                self._write((_RIGHT - 110 * (len(plot.curves) - 1 - number), 8), name, "ra", COLORS[number % len(COLORS)])
        if not any(plot.curves.values()):
            self._write(((_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2), "nothing was logged", "mm")

    def _curve(self, points: Points, color: tuple[int, int, int], dots: bool) -> None:
        if not dots and len(points) > 1:
            return self._line([(self._x(place), self._y(value)) for place, value in points], color, 1.5)
        faint = color if not dots else tuple((part + 2 * 255) // 3 for part in color)
        for place, value in points:
            x, y = self._x(place) * _SUPERSAMPLE, (self.above + self._y(value)) * _SUPERSAMPLE
            radius = _DOT * _SUPERSAMPLE
            self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=faint)
        if dots:
            smooth = running_mean(points, averaged(len(points)))
            self._line([(self._x(place), self._y(value)) for place, value in smooth], color, 1.5)

    def _x(self, place: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (place - 1) / max(self.length - 1, 10)

    def _y(self, value: float) -> float:
        low, high = self.ends
        return _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)

    def _line(self, points: Sequence[tuple[float, float]], color: tuple[int, int, int], width: float = 1.0) -> None:
        scaled = [(x * _SUPERSAMPLE, (self.above + y) * _SUPERSAMPLE) for x, y in points]
        for pair in pairwise(scaled):
            self.pen.line(pair, fill=color, width=round(width * _SUPERSAMPLE))

    def _write(self, at: tuple[float, float], text: str, anchor: str, color: tuple[int, int, int] = _INK) -> None:
        self.pen.text((at[0] * _SUPERSAMPLE, (self.above + at[1]) * _SUPERSAMPLE), text, fill=color, font=self.font, anchor=anchor)
