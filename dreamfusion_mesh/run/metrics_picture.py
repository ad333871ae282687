"""metrics.png: a run's log as plots of its residual, triangles and times over its steps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from dreamfusion_mesh.asset.export.png import png_bytes
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.render.line_plots import Plot, Points, averaged, line_plots
from dreamfusion_mesh.run.metrics import MetricsLog
from dreamfusion_mesh.run.out import METRICS_PICTURE

_LOG = logging.getLogger(__name__)
_LARGEST = 1e30  # of a value that is drawn
_TIMES = {"step": "step_ms", "rendering": "render_ms", "guidance": "guidance_ms"}


def metrics_picture(log: MetricsLog) -> dict[str, bytes]:
    """The picture by its name; nothing, with a warning, where the log cannot be read or holds no step. Damaged lines are warned of, too.

    The same log gives the same bytes.
    """
    try:
        steps = log.read()
    except BadInput as error:
        _LOG.warning("%s; %s is not drawn", error, METRICS_PICTURE)
        return {}
    if not steps:
        _LOG.warning("%s is not drawn, since no step was logged", METRICS_PICTURE)
        return {}
    stages = [(stage, len([*lines])) for stage, lines in groupby(step["stage"] for step in steps)]
    starts = {1.0 + sum(count for _, count in stages[:at]): stage for at, (stage, _) in enumerate(stages)}
    return {METRICS_PICTURE: png_bytes(line_plots(plots_of(steps), len(steps), starts, "steps of all stages"))}


def plots_of(steps: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """What is drawn of a log's lines: a point for each step that has the value, at the step's place in the log, from 1 on."""
    residual = _points(steps, "residual")
    far = f"residual: how far the views are from what the model wants to see (line: mean of {averaged(len(residual))})"
    return [
        Plot(far, {"residual": residual}, dots=True),
        Plot("triangles of the surface", {"triangles": _points(steps, "faces")}),
        Plot("seconds a step", {name: _points(steps, key, 1000) for name, key in _TIMES.items()}),
    ]


def _points(steps: Sequence[Mapping[str, Any]], key: str, unit: float = 1.0) -> Points:
    found = [(place, _number(step.get(key))) for place, step in enumerate(steps, start=1)]
    return [(place, value / unit) for place, value in found if value is not None]


def _number(value: Any) -> float | None:
    """The value where it can be drawn: a finite number, and not one that would leave nothing to be seen of the others."""
    return float(value) if type(value) in (int, float) and abs(value) < _LARGEST else None
