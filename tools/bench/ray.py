"""What Ray adds to a batch: rows that sleep on one worker and on two of a local cluster, and the cost of a row that does nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dreamfusion_mesh.batch.records import Options
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.errors import BadInput
from tools.bench.batch import LeastRows, Watched
from tools.bench.machine import ROOT
from tools.bench.records import Figure, in_milliseconds, missing

from stub_rows import StubRows, job  # isort: skip  # of tests/support, which tools.bench.batch has put on the path

SLEEPING, IDLE, WORKERS = 14, 1000, 2  # rows, rows, and workers that share them
_FIRST = 4  # rows by whose end every worker has begun
TIMES, OVERHEAD = 1.9, 20e-3  # targets: a ratio, and seconds a row


def measure(rounds: int) -> Iterator[Figure]:
    """Times that two workers are faster, and milliseconds a row; a cluster of its own for each batch, whose start does not count."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])  # actors do not get this process's own path
    try:
        ratios = tuple(_seconds_a_row("sleep", SLEEPING, 1) / _seconds_a_row("sleep", SLEEPING, WORKERS) for _ in range(rounds))
        idle = [_seconds_a_row("", IDLE, WORKERS) for _ in range(rounds)]
    except BadInput as error:
        yield missing("batches through Ray", error)
        return
    yield Figure(f"rows that sleep 1 s, {WORKERS} Ray workers: times faster than one", "x", ratios, target=TIMES, at_least=True)
    yield in_milliseconds(f"a row of {IDLE:,} stub rows through {WORKERS} Ray workers", idle, OVERHEAD)


def _seconds_a_row(prompt: str, rows: int, workers: int) -> float:
    """From the end of the first few rows to that of the last one."""
    with tempfile.TemporaryDirectory() as folder:
        place, watched = Path(folder), Watched(rows)
        stub = StubRows(place) if prompt else LeastRows(place)
        jobs = [job(f"row-{number}", prompt or "a red mug", number) for number in range(rows)]
        totals = run_batch(jobs, place / "out", Options(workers=workers, ray="local"), watched, stub)
        assert totals.done == rows, totals
    ends = [at for at, event in watched.times if event.kind == "done"]
    return (ends[-1] - ends[_FIRST - 1]) / (rows - _FIRST)
