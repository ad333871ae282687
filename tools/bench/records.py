"""What the parts of the benchmark give: figures with their rounds, and parts with the machine that they were measured on."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

FEW = 4  # rounds; quartiles of fewer say less than their ends
Measure = Callable[[], Iterator["Figure"]]


@dataclass(frozen=True)
class Figure:
    """One quantity.

    values    one for each round, in `unit`; none where it was not measured
    reason    why it was not measured
    target    what the median should be at most, or at least where `at_least`
    note      what a reader has to know beside it
    plot      (axis, place on it, curve), where the figure is a point of a plot
    """

    name: str
    unit: str
    values: tuple[float, ...] = ()
    reason: str = ""
    target: float | None = None
    at_least: bool = False
    note: str = ""
    plot: tuple[str, float, str] | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Quartiles; the smallest and the largest of fewer than FEW rounds."""
        if len(self.values) < FEW:
            return min(self.values), max(self.values)
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is no target or no value."""
        if self.target is None or not self.values:
            return None
        return self.median >= self.target if self.at_least else self.median <= self.target


def in_milliseconds(name: str, seconds: Sequence[float], target: float | None = None) -> Figure:
    """Of a time and a target in seconds."""
    return Figure(name, "ms", tuple(1e3 * value for value in seconds), target=None if target is None else 1e3 * target)


def missing(name: str, reason: object) -> Figure:
    """A figure that this machine cannot measure."""
    return Figure(name, "", reason=str(reason))


def at(figure: Figure, axis: str, place: float, curve: str) -> Figure:
    """The figure as a point of a plot."""
    return replace(figure, plot=(axis, place, curve))


@dataclass(frozen=True)
class Machine:
    """Where figures were measured; `card` is empty where none took part."""

    device: str
    processor: str
    cores: int
    card: str
    versions: tuple[tuple[str, str], ...]

    @property
    def place(self) -> tuple[str, str, int, str]:
        """What the next measurement of a part replaces the last one of: versions change, the machine does not."""
        return self.device, self.processor, self.cores, self.card

    def line(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions)
        return f"{self.processor}, {self.cores} cores, {self.card or 'no card used'}; {versions}"


@dataclass(frozen=True)
class Measured:
    """A part's figures, the command that made them, and where."""

    part: str
    command: str
    machine: Machine
    figures: tuple[Figure, ...]


def shown(value: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def wanted(figure: Figure) -> str:
    """The target in words, and MISSED in capitals where it is; nothing where there is none."""
    if figure.target is None:
        return ""
    bound = f"{'at least' if figure.at_least else 'at most'} {shown(figure.target)} {figure.unit}"
    return bound if figure.reached is None else f"{bound}: {'reached' if figure.reached else 'MISSED'}"


def line(figure: Figure) -> str:
    """A figure for the terminal."""
    if figure.reason:
        return f"{figure.name:<52} not measured: {figure.reason}"
    low, high = figure.spread
    many = len(figure.values)
    spread = f" ({shown(low)} to {shown(high)}, {many} rounds)" if many > 1 else ""
    rest = "; ".join(text for text in (wanted(figure), figure.note) if text)
    return f"{figure.name:<52} {shown(figure.median)} {figure.unit}{spread}{'; ' if rest else ''}{rest}"
