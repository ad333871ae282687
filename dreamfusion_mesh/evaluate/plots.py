"""Plots as inline SVG: a bar for each group, with its standard error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from dreamfusion_mesh.evaluate.measures import Measure, mean_text
from dreamfusion_mesh.evaluate.statistics import Mean
from dreamfusion_mesh.terminal import cut

_LEFT, _WIDTH, _RIGHT, _ROW, _BAR = 170, 260, 110, 24, 14  # pixels: names, the longest bar, numbers; height of a row, and of its bar
_LONGEST_NAME = 24
_COLOURS = ("#4878a8", "#d98032", "#5a9a5a", "#b3524d", "#8468a8", "#8a6a56")


def bars(measure: Measure, names: Sequence[str], means: Sequence[Mean | None], chance: float | None = None) -> str:
    """Groups one below the other; `chance` is a dashed line. A share's axis goes to 100 %, others to the largest value with its error."""
    ends = [mean.value + (mean.error or 0.0) for mean in means if mean is not None]
    plot = _Plot(measure, 1.0 if measure.unit == "share" else max(ends, default=0.0) or 1.0)
    width, height = _LEFT + _WIDTH + _RIGHT, _ROW * len(names)
    parts = [plot.row(at, name, mean) for at, (name, mean) in enumerate(zip(names, means, strict=True))]
    if chance is not None:
        parts.append(plot.vertical(chance, height, ' stroke-dasharray="3 3"'))
    parts.append(plot.vertical(0.0, height))
    return f'<svg role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">{"".join(parts)}</svg>'


@dataclass(frozen=True)
class _Plot:
    """A measure's axis, from 0 to `top`."""

    measure: Measure
    top: float

    def x(self, value: float) -> float:
        """Where a value lies; what is beyond the axis, at its end."""
        return round(_LEFT + _WIDTH * min(max(value / self.top, 0.0), 1.0), 1)

    def row(self, at: int, name: str, mean: Mean | None) -> str:
        """A group's name, bar, error and number."""
        middle = _ROW * at + _ROW // 2
        baseline = f'y="{middle + 4}"'
        parts = [f'<text x="{_LEFT - 8}" {baseline} text-anchor="end">{escape(cut(name, _LONGEST_NAME))}</text>']
        if mean is None:
            return f'{parts[0]}<text x="{_LEFT + 8}" {baseline}>not measured</text>'
        colour, length = _COLOURS[at % len(_COLOURS)], round(self.x(mean.value) - _LEFT, 1)
        parts.append(f'<rect x="{_LEFT}" y="{middle - _BAR // 2}" width="{length}" height="{_BAR}" fill="{colour}"/>')
        if mean.error is not None:
            ends = f'x1="{self.x(mean.value - mean.error)}" x2="{self.x(mean.value + mean.error)}"'
            parts.append(f'<line {ends} y1="{middle}" y2="{middle}" stroke="currentColor" stroke-width="2"/>')
        parts.append(f'<text x="{_LEFT + _WIDTH + 10}" {baseline}>{mean_text(mean, self.measure)}</text>')
        return "".join(parts)

    def vertical(self, value: float, height: int, more: str = "") -> str:
        """A line over all groups."""
        return f'<line x1="{self.x(value)}" x2="{self.x(value)}" y1="0" y2="{height}" stroke="currentColor"{more}/>'
