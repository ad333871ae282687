"""What happens in a batch, for machines: one JSON object a line on standard output."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamfusion_mesh.batch.records import Event, Outcome, Totals

SCHEMA = 1


def write_line(event: str, **values: Any) -> None:
    """One line: the event's name, the time in UTC, and the values."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stdout.write(json.dumps({"event": event, "time": time, **values}) + "\n")
    sys.stdout.flush()


def log_begin(folder: str, jobs: int) -> None:
    """The first line, which names the schema of all."""
    write_line("begin", schema=SCHEMA, folder=folder, jobs=jobs)


def log_event(event: Event) -> None:
    """A line for an event, with the values that its kind has."""
    values: dict[str, Any] = {"name": event.name, "attempt": event.attempt} if event.name else {}
    if event.kind == "stage":
        values["stage"] = event.stage
    if event.kind in ("stage", "planned"):
        values |= {"done": event.done, "total": event.total}
    if event.message:
        values["message"] = event.message
    if event.outcome is not None:
        values |= _outcome(event.outcome)
    write_line(event.kind, **values)


def log_end(code: int, totals: Totals | None) -> None:
    """The last line: the exit code, and the jobs' counts where the batch came to its end."""
    counts = {} if totals is None else {key: getattr(totals, key) for key in ("before", "done", "failed", "left")}
    write_line("end", exit=code, **counts)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "failure": outcome.failure,
        "message": outcome.message,
        "seconds": round(outcome.seconds, 3),
        "triangles": outcome.triangles,
        "audit": list(outcome.audit),
        "warnings": list(outcome.warnings),
    }
