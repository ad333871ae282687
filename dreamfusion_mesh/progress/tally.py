"""How far a batch is, kept from its events alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dreamfusion_mesh.batch.records import Event

_RECENT = 64  # the last jobs that ended, whose pace tells the time left


@dataclass
class Row:
    """A job under way: its attempt, its stage with what is done of it, and when the attempt began."""

    attempt: int
    stage: str
    done: int
    total: int
    since: float


class Tally:
    """Jobs done, failed and left, those under way, and the time left.

    jobs    of the batch; `before` of them were done when this call began, and `done` are those of this call
    now     the clock, in seconds
    """

    def __init__(self, jobs: int, clock: Callable[[], float] = monotonic) -> None:
        self.jobs = jobs
        self.before = self.done = self.failed = 0
        self.rows: dict[str, Row] = {}
        self.now = clock
        self._ends = deque([clock()], maxlen=_RECENT + 1)

    @property
    def left(self) -> int:
        """Jobs that have not ended, those under way with them."""
        return max(0, self.jobs - self.before - self.done - self.failed)

    def take(self, event: Event) -> None:
        """Count an event in."""
        match event.kind:
            case "planned":
                self.jobs, self.before = event.total, event.done
            case "started":
                self.rows[event.name] = Row(event.attempt, "", 0, 0, self.now())
            case "stage" | "fitted":
                row = self.rows.setdefault(event.name, Row(event.attempt, "", 0, 0, self.now()))
                row.stage, row.done, row.total = event.stage or "deliver", event.done, event.total
            case "done" | "failed" | "retry":
                worked = self.rows.pop(event.name, None) is not None
                if event.kind != "retry":
                    if worked:  # or it ended in no time, and says nothing of the pace
                        self._ends.append(self.now())
                    self.done += event.kind == "done"
                    self.failed += event.kind == "failed"

    def seconds_left(self) -> float | None:
        """At the pace of the last jobs that ended, about; None before the first one has."""
        if len(self._ends) < 2:
            return None
        pace = (max(self.now(), self._ends[-1]) - self._ends[0]) / (len(self._ends) - 1)
        return pace * self.left

    def line(self) -> str:
        """Jobs done, failed and left, and the time left, in words."""
        remaining = self.seconds_left()
        counts = f"{self.before + self.done} done, {self.failed} failed, {self.left} left"
        return counts if remaining is None or not self.left else f"{counts}, about {duration(remaining)}"


def duration(seconds: float) -> str:
    """Seconds in words, of the two largest units: "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    whole = round(seconds)
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    first = next((index for index, (size, _) in enumerate(units) if whole >= size), len(units) - 1)
    parts = list[str]()
    for size, name in units[first : first + 2]:
        count, whole = divmod(whole, size)
        if count or not parts:
            parts.append(f"{count} {name}")
    return " ".join(parts)
