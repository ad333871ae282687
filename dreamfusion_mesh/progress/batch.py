"""How far a batch is, on standard error: counts, time left and the jobs under way where that is a terminal, a line an event where not."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dreamfusion_mesh.progress.tally import Row, Tally, duration
from dreamfusion_mesh.terminal import cut

if TYPE_CHECKING:
    from dreamfusion_mesh.batch.records import Event, Watch

_LOG = logging.getLogger(__name__)
_MOST_ROWS = 16  # jobs under way that a terminal shows
_LONGEST_NAME = 40
_BAR = 20  # letters, which leaves the counts room on a terminal of 80


@contextmanager
def batch_progress(tally: Tally, where: Callable[[Event], str], quiet: bool = False) -> Iterator[Watch]:
    """What watches a batch, and counts its events into `tally`.

    where  the folder of a failed attempt, for its line
    quiet  warnings and failed jobs alone
    Jobs that fail and warnings are logged as warnings, which `terminal.logged_warnings` prints.
    """
    lock = threading.Lock()  # a thread of rich draws the screen
    with _quiet() if quiet else _view(tally, lock) as show:

        def watch(event: Event) -> None:
            with lock:
                tally.take(event)
            if event.kind in ("warning", "retry", "failed"):
                _LOG.warning("%s", _problem(event, where))
            show(event)

        yield watch


def _problem(event: Event, where: Callable[[Event], str]) -> str:
    """A failed attempt or a warning in one line."""
    if event.outcome is None:
        return f"{event.name}: {event.message}" if event.name else event.message
    what = f"{event.name}: failed ({event.outcome.failure}): {event.outcome.message}"
    return f"{what}; another seed is tried" if event.kind == "retry" else f"{what}; see {where(event)}"


@contextmanager
def _quiet() -> Iterator[Callable[[Event], None]]:
    yield lambda event: None


@contextmanager
def _view(tally: Tally, lock: threading.Lock) -> Iterator[Callable[[Event], None]]:
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda event: _print_line(event, tally)
        return
    from rich.live import Live

    def draw() -> Any:
        with lock:
            return _screen(tally)

    with Live(get_renderable=draw, console=console, refresh_per_second=4, transient=True):
        yield lambda event: None  # the screen is drawn from the tally


def _screen(tally: Tally) -> Any:
    """A bar of the jobs, and a line for each that is under way."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 1))
    ended = tally.before + tally.done + tally.failed
    head.add_row(ProgressBar(total=max(1, tally.jobs), completed=ended, width=_BAR), Text(tally.line(), no_wrap=True))
    rows = Table.grid(padding=(0, 2))
    for name, row in list(tally.rows.items())[:_MOST_ROWS]:
        rows.add_row(Text(cut(name, _LONGEST_NAME)), Text(_stage(row)), Text(duration(tally.now() - row.since)))
    more = len(tally.rows) - _MOST_ROWS
    return Group(head, rows, *([Text(f"and {more} more")] if more > 0 else []))


def _stage(row: Row) -> str:
    again = f" (retry {row.attempt})" if row.attempt else ""
    count = f" {row.done}/{row.total}" if row.total else ""
    return f"{row.stage or 'begins'}{count}{again}"


def _print_line(event: Event, tally: Tally) -> None:
    """The events of a whole job; stages would be a line a step."""
    match event.kind:
        case "started":
            again = f", retry {event.attempt}" if event.attempt else ""
            line = f"{event.name}: started{again}"
        case "fitted":
            line = f"{event.name}: fitted"
        case "done" | "failed":
            took = f" in {duration(event.outcome.seconds)}" if event.outcome else ""
            line = f"{event.name}: {event.kind}{took}; {tally.line()}"
        case _:
            return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
