"""A settings error in one line that names the setting, what is allowed and the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from dreamfusion_mesh.config.base import Settings
from dreamfusion_mesh.config.run import RunConfig


def explain(error: ValidationError) -> str:
    """The first problem of `error` in one line: the setting's dotted name, what is allowed, and what was given or the nearest name."""
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return f"{'.'.join(path)}: unknown setting{nearest(path[-1], _allowed(path[:-1]))}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = problem.get("input")
    shown = "" if isinstance(given, (dict, Settings)) else f" (given {given!r})"
    return f"{'.'.join(path) or 'settings'}: {message}{shown}"


def _allowed(path: Sequence[str]) -> list[str]:
    model: Any = RunConfig
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def nearest(name: str, names: Sequence[str]) -> str:
    """What to put after a message about an unknown `name`: the one of `names` that is most like it, or all of them where none is."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(names)}" if names else ""
