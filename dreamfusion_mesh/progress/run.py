"""How far a run is, on standard error: bars where that is a terminal, lines where not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dreamfusion_mesh import process


@contextmanager
def progress() -> Iterator[tuple[Callable[[str, int, int, Mapping[str, float], object], None], Mapping[str, Any]]]:
    """Bars with the time left, one a stage; a plain line for each tenth where the output is no terminal.

    Gives the `Report` of a run, and the stages that have called it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int, figures: Mapping[str, float], scene: object) -> None:
        process.raise_received()
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total, note="")
        note = f"residual {figures['residual']:.4f}" if "residual" in figures else ""
        bars.update(tasks[stage], completed=done, note=note)
        if not console.is_terminal and (done == total or done % max(1, total // 10) == 0):
            left = bars.tasks[tasks[stage]].time_remaining
            remaining = f"{left:.0f} s left" if left and done < total else ""
            sys.stderr.write(", ".join(part for part in (f"{stage} {done}/{total}", note, remaining) if part) + "\n")
            sys.stderr.flush()

    with bars:
        yield report, tasks
