"""metrics.jsonl, a run's log: a line a step. Nothing that is wrong with a log ends a run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import append_file, read_bytes, shown

_LOG = logging.getLogger(__name__)


class MetricsLog:
    """The lines of metrics.jsonl. Where the file cannot be read or written there is one warning, and the run goes on without it."""

    def __init__(self, file: Path, write: Callable[[str, bytes], Any]) -> None:
        """write: puts content in a file of the same folder by name, whole or not at all; raises BadInput."""
        self._file, self._write = file, write
        self._usable = True

    def add(self, line: Mapping[str, Any]) -> None:
        """Append one line, which holds its stage and step."""
        if self._usable:
            try:
                append_file(self._file, (json.dumps(line) + "\n").encode())
            except BadInput as error:
                self._give_up(error)

    def trim(self, stage: str, done: int) -> None:
        """Drop the lines of steps that will be done again, those of `stage` after `done`; and, with a warning, damaged ones."""
        if not self._usable or not os.path.lexists(self._file):
            return
        try:
            content = read_bytes(self._file)
            found = [(line, _stage_and_step(line)) for line in content.split(b"\n") if line]
            left = b"".join(line + b"\n" for line, at in found if at is not None and not (at[0] == stage and at[1] > done))
            if left != content:
                self._write(self._file.name, left)
        except BadInput as error:
            return self._give_up(error)
        damaged = sum(at is None for _, at in found)
        if damaged:
            told = "%s: %s dropped, such as a process leaves that is killed while it writes"
            _LOG.warning(told, shown(self._file), _damaged(damaged))

    def read(self) -> list[dict[str, Any]]:
        """The lines, each of which holds its stage and step; without damaged ones, which are warned of. Raises BadInput where it cannot."""
        lines = [line for line in read_bytes(self._file).split(b"\n") if line]
        whole = [json.loads(line) for line in lines if _stage_and_step(line) is not None]
        if damaged := len(lines) - len(whole):
            _LOG.warning("%s: %s left out", shown(self._file), _damaged(damaged))
        return whole

    def _give_up(self, reason: BadInput) -> None:
        self._usable = False
        _LOG.warning("%s; the run goes on without this log", reason)


def _damaged(count: int) -> str:
    return "1 damaged line is" if count == 1 else f"{count} damaged lines are"


def _stage_and_step(line: bytes) -> tuple[str, int] | None:
    """What a line says of where it belongs; None for a damaged one."""
    try:
        read = json.loads(line.decode())
        stage, step = (read["stage"], read["step"]) if isinstance(read, dict) else (None, None)
    except (KeyError, ValueError, RecursionError):
        return None
    return (stage, step) if isinstance(stage, str) and type(step) is int else None
