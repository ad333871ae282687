"""What watches a batch prints: lines where standard error is no terminal, a screen where it is one, warnings alone with --quiet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from dreamfusion_mesh.batch.records import Event, Outcome, Totals
from dreamfusion_mesh.progress.batch import batch_progress
from dreamfusion_mesh.progress.log import SCHEMA, log_begin, log_end, log_event
from dreamfusion_mesh.progress.tally import Tally
from dreamfusion_mesh.terminal import logged_warnings

EVENTS = [
    Event("planned", done=1, total=3),
    Event("loaded"),
    Event("started", "mug"),
    Event("stage", "mug", stage="coarse", done=3, total=12),
    Event("fitted", "mug"),
    Event("started", "jug"),
    Event("done", "mug", outcome=Outcome(seconds=75.2, triangles=1000, audit=("pass", "fail"), warnings=("unwrap: slow",))),
    Event("warning", message="the disk is slow"),
    Event("retry", "jug", outcome=Outcome("diverged", "guidance gave NaN", 3.0)),
    Event("started", "jug", 1),
    Event("failed", "jug", 1, outcome=Outcome("empty", "there is no surface", 4.0)),
]
WARNINGS = [
    "warning: the disk is slow",
    "warning: jug: failed (diverged): guidance gave NaN; another seed is tried",
    "warning: jug: failed (empty): there is no surface; see out/.work/jug+1",
]


def where(event: Event) -> str:
    return f"out/.work/{event.name}+{event.attempt}"


def watched(capfd: pytest.CaptureFixture[str], quiet: bool) -> tuple[str, list[str]]:
    """Standard output, and the lines on standard error."""
    with logged_warnings(), batch_progress(Tally(3, lambda: 0.0), where, quiet) as watch:
        for event in EVENTS:
            watch(event)
    output, errors = capfd.readouterr()
    return output, errors.splitlines()


def test_lines_tell_what_became_of_each_job(capfd: pytest.CaptureFixture[str]) -> None:
    output, lines = watched(capfd, quiet=False)
    assert output == ""
    assert [line for line in lines if line.startswith("warning")] == WARNINGS
    assert [line for line in lines if not line.startswith("warning")] == [
        "mug: started",
        "mug: fitted",
        "jug: started",
        "mug: done in 1 min 15 s; 2 done, 0 failed, 1 left, about 0 s",
        "jug: started, retry 1",
        "jug: failed in 4 s; 2 done, 1 failed, 0 left",
    ]


def test_quiet_leaves_the_warnings(capfd: pytest.CaptureFixture[str]) -> None:
    assert watched(capfd, quiet=True) == ("", WARNINGS)


def test_a_library_that_watches_quietly_prints_nothing_itself(capfd: pytest.CaptureFixture[str]) -> None:
    with batch_progress(Tally(1), where, True) as watch:
        watch(EVENTS[2])
    assert capfd.readouterr() == ("", "")


TERMINAL = """
import pty, os, sys
pid, master = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm", COLUMNS="80", LINES="30")
    from dreamfusion_mesh.batch.records import Event, Outcome
    from dreamfusion_mesh.progress.batch import batch_progress
    from dreamfusion_mesh.progress.tally import Tally
    from dreamfusion_mesh.terminal import logged_warnings
    with logged_warnings(), batch_progress(Tally(400_000), lambda event: "there") as watch:
        watch(Event("planned", done=1, total=400_000))
        watch(Event("started", "jug"))
        watch(Event("done", "jug", outcome=Outcome(seconds=2.0)))
        watch(Event("failed", "[red]keg", outcome=Outcome("error", "a [bold] fault")))
        for number in range(20):
            watch(Event("started", f"mug [b]{number}"))
        watch(Event("stage", "mug [b]0", stage="coarse", done=3, total=12))
    os._exit(0)
out = b""
while True:
    try:
        part = os.read(master, 65536)
    except OSError:
        break
    if not part:
        break
    out += part
os.waitpid(pid, 0)
sys.stdout.buffer.write(out)
"""


@pytest.mark.skipif(os.name == "nt", reason="no pseudo terminals")
def test_a_terminal_shows_counts_and_the_jobs_under_way() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    shown = subprocess.run([sys.executable, "-c", TERMINAL], capture_output=True, text=True, env=environment, timeout=60, check=True).stdout
    for text in ("2 done, 1 failed, 399997 left, about ", "mug [b]0", "coarse 3/12", "begins", "and 4 more"):
        assert text in shown
    assert "warning: [red]keg: failed (error): a [bold] fault; see there" in shown
    assert "Traceback" not in shown


def test_each_event_is_a_json_object_on_a_line_and_the_first_has_the_schema(capfd: pytest.CaptureFixture[str]) -> None:
    log_begin("out/läuft", 3)
    for event in EVENTS:
        log_event(event)
    log_end(1, Totals(1, 1, 1, 0))
    output, errors = capfd.readouterr()
    assert errors == ""
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["event"] for line in lines] == ["begin", *(event.kind for event in EVENTS), "end"]
    assert all(datetime.fromisoformat(line.pop("time")).utcoffset() is not None for line in lines)
    assert lines[0] == {"event": "begin", "schema": SCHEMA, "folder": "out/läuft", "jobs": 3}
    assert lines[1] == {"event": "planned", "done": 1, "total": 3}
    assert lines[2] == {"event": "loaded"}
    assert lines[4] == {"event": "stage", "name": "mug", "attempt": 0, "stage": "coarse", "done": 3, "total": 12}
    assert lines[7] == {
        "event": "done",
        "name": "mug",
        "attempt": 0,
        "failure": None,
        "message": "",
        "seconds": 75.2,
        "triangles": 1000,
        "audit": ["pass", "fail"],
        "warnings": ["unwrap: slow"],
    }
    assert lines[8] == {"event": "warning", "message": "the disk is slow"}
    assert lines[-1] == {"event": "end", "exit": 1, "before": 1, "done": 1, "failed": 1, "left": 0}


def test_an_end_without_totals_has_the_exit_code_alone(capfd: pytest.CaptureFixture[str]) -> None:
    log_end(143, None)
    line = json.loads(capfd.readouterr().out)
    assert (line["event"], line["exit"], set(line)) == ("end", 143, {"event", "time", "exit"})
