"""The batch's figures: the cost of scheduling, resuming and reading a manifest over stub rows, and what overlapped deliveries save.

The stub rows are those of the tests, made to do even less.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dreamfusion_mesh.batch.entry import make_entry
from dreamfusion_mesh.batch.jobs import read_jobs
from dreamfusion_mesh.batch.manifest import Manifest
from dreamfusion_mesh.batch.messages import Role, Words
from dreamfusion_mesh.batch.records import Attempt, Event, Job, Options, Outcome
from dreamfusion_mesh.batch.row_settings import Flags
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.config import RunConfig

sys.path.append(str(Path(__file__).parents[2] / "tests" / "support"))  # batches' processes take it over
from stub_rows import FINE, StubRows, write_plainly

ROWS, MANIFEST_ROWS, SMOKE_ROWS = 10_000, 1_000_000, 12
OVERHEAD, RESUME, SCAN, SCAN_BYTES, GAP, OVERLAP = 5e-3, 3.0, 60.0, 2**30, 2.0, 1.15  # targets: seconds, bytes, and a ratio
_CHUNK = 10_000  # entries that are appended at once
_COLORS = ("red", "blue", "green", "white")
_WHOLE = Outcome(seconds=0.0, triangles=12, audit=("pass",) * 8)


def run(rounds: int) -> None:
    """Measure and print every figure."""
    print(f"batch     {ROWS} stub rows; a manifest of {MANIFEST_ROWS} lines; {SMOKE_ROWS} rows of the preset smoke, medians of {rounds}")
    with tempfile.TemporaryDirectory() as folder:
        _scheduling(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        _manifest(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        _overlap(Path(folder), rounds)


@dataclass
class LeastRows(StubRows):
    """Stub rows that leave what a batch needs of a row, and nothing else."""

    def start(self, role: Role) -> None:
        pass

    def load(self, settings: RunConfig) -> None:
        pass

    def encode(self, words: Sequence[Words]) -> None:
        pass

    def fit(self, attempt: Attempt, folder: Path, report: Callable[..., None], stop: Callable[[], bool]) -> bool:
        write_plainly(folder / FINE, b"fitted")
        return True

    def deliver(self, attempt: Attempt, folder: Path, report: Callable[..., None]) -> Outcome:
        write_plainly(folder / "result.json", b"{}")
        return _WHOLE


@dataclass
class Watched:
    """When events came, by kind, job and stage; and the memory of this process at each tenth of the jobs."""

    jobs: int
    times: list[tuple[float, Event]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    ended: int = 0
    keep: bool = True

    def __call__(self, event: Event) -> None:
        if self.keep:
            self.times.append((time.perf_counter(), event))
        if event.kind in ("done", "failed"):
            self.ended += 1
            if self.ended % max(1, self.jobs // 10) == 0:
                self.memory.append(psutil.Process().memory_info().rss)


def _scheduling(folder: Path) -> None:
    table = folder / "rows.csv"
    table.write_text("prompt,name,seed\n" + "".join(f"a red mug,row-{number},{number}\n" for number in range(ROWS)))
    started = time.perf_counter()
    jobs = read_jobs(table, Flags("smoke", device="cpu"))
    print(f"{'reading the table':<44} {time.perf_counter() - started:.2f} s")
    watched, used = Watched(ROWS, keep=False), psutil.Process().cpu_times()
    started = time.perf_counter()
    totals = run_batch(jobs, folder / "out", Options(), watched, LeastRows(folder))
    taken = time.perf_counter() - started
    assert totals.done == ROWS, totals
    spent = psutil.Process().cpu_times()
    busy = spent.user + spent.system - used.user - used.system
    shown = f"{1e3 * taken / ROWS:.2f} ms, of which this process works {1e3 * busy / ROWS:.2f} ms"
    print(f"{'scheduling, a row':<44} {shown}; at most {1e3 * OVERHEAD:.0f} ms wanted: {_word(taken / ROWS <= OVERHEAD)}")
    first, last = watched.memory[0], watched.memory[-1]
    print(f"{'memory of the parent':<44} {_mib(first)} after a tenth of the rows, {_mib(last)} at the end")
    started = time.perf_counter()
    totals = run_batch(jobs, folder / "out", Options(), watched, LeastRows(folder))
    assert totals.before == ROWS, totals
    _print_seconds(f"resuming with {ROWS} finished rows", time.perf_counter() - started, RESUME)


_SCAN = """
import resource, sys, time
from pathlib import Path
from dreamfusion_mesh.batch.manifest import read_manifest
started = time.perf_counter()
found = read_manifest(Path(sys.argv[1]))
print(len(found), time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def _manifest(folder: Path) -> None:
    """A line for each of a million jobs, and one more for some, as a batch leaves them."""
    (job,) = _jobs(folder, ["a red mug with white parts,mug,7"])
    manifest = Manifest(folder / "manifest.jsonl")
    for first in range(0, MANIFEST_ROWS, _CHUNK):
        jobs = (Job(f"{job.name}-{number}", job.prompt, number, job.settings, job.key) for number in range(first, first + _CHUNK))
        manifest.append(make_entry(Attempt(each), "done", _WHOLE) for each in jobs)
    found = subprocess.run([sys.executable, "-c", _SCAN, str(manifest.path)], capture_output=True, text=True, check=True).stdout.split()
    assert int(found[0]) == MANIFEST_ROWS, found
    _print_seconds(f"reading a manifest of {MANIFEST_ROWS} lines", float(found[1]), SCAN)
    peak = int(found[2])
    print(f"{'memory of that process':<44} {_mib(peak)}; at most {_mib(SCAN_BYTES)} wanted: {_word(peak <= SCAN_BYTES)}")


def _overlap(folder: Path, rounds: int) -> None:
    """Rows whose deliveries run beside the next fits, and the same rows one after the other in one process with the model loaded."""
    rows = [f"a {_COLORS[number % 4]} mug,row-{number},{number}" for number in range(SMOKE_ROWS)]
    jobs, together, alone, gaps = _jobs(folder, rows), list[float](), list[float](), list[float]()
    for turn in range(rounds):
        watched = Watched(SMOKE_ROWS)
        totals = run_batch(jobs, folder / f"batch-{turn}", Options(), watched)
        assert totals.done == SMOKE_ROWS, totals
        loaded = next(at for at, event in watched.times if event.kind == "loaded")
        together.append(watched.times[-1][0] - loaded)
        gaps += _gaps(watched.times)
        command = [sys.executable, "-c", _ALONE, *_texts(jobs, folder / f"alone-{turn}")]
        alone.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        different = _different(folder / f"batch-{turn}", folder / f"alone-{turn}")
        assert not different, different
    shown = f"median {statistics.median(gaps):.2f} s, at most {max(gaps):.2f} s; at most {GAP:g} s wanted"
    print(f"{'last step of a row to first of the next':<44} {shown}: {_word(statistics.median(gaps) <= GAP)}")
    ours, others = statistics.median(together), statistics.median(alone)
    shown = f"{ours:.1f} s overlapped, {others:.1f} s one after the other; {others / ours:.2f}x, at least {OVERLAP:g}x wanted"
    print(f"{f'{SMOKE_ROWS} rows of smoke, files equal':<44} {shown}: {_word(others / ours >= OVERLAP)}")


_ALONE = """
import json, sys, time
from pathlib import Path
import torch
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.pipeline import generate
configs = [(name, load_config("smoke", ["device=cpu"], values)) for name, values in json.loads(sys.argv[1])]
model = load_guidance(configs[0][1].guidance, torch.device("cpu"))
started = time.perf_counter()
for name, config in configs:
    generate(config, Path(sys.argv[2]) / name, guidance=model)
print(time.perf_counter() - started)
"""


def _texts(jobs: Sequence[Job], folder: Path) -> tuple[str, str]:
    return json.dumps([(job.name, {"prompt": job.prompt, "seed": job.seed}) for job in jobs]), str(folder)


def _gaps(times: Sequence[tuple[float, Event]]) -> list[float]:
    """Seconds from the last step that a fit reported to the first that the next one did."""
    steps: dict[str, list[float]] = {}
    for at, event in times:
        if event.kind == "stage" and event.stage in ("coarse", "fine"):
            steps.setdefault(event.name, []).append(at)
    spans = sorted((found[0], found[-1]) for found in steps.values())
    return [first - last for (_, last), (first, _) in itertools.pairwise(spans)]


def _different(one: Path, other: Path) -> list[str]:
    """Names of files of models and pictures whose bytes are not the same in both folders of assets."""
    files = [file.relative_to(other) for pattern in ("*.glb", "*.obj", "*.png") for file in other.glob(f"*/{pattern}")]
    return [str(file) for file in files if (one / file).read_bytes() != (other / file).read_bytes()]


def _jobs(folder: Path, rows: Sequence[str]) -> list[Job]:
    (folder / "rows.csv").write_text("\n".join(["prompt,name,seed", *rows]) + "\n")
    return read_jobs(folder / "rows.csv", Flags("smoke", device="cpu"))


def _print_seconds(name: str, taken: float, target: float) -> None:
    print(f"{name:<44} {taken:.2f} s; at most {target:g} s wanted: {_word(taken <= target)}")


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def _word(reached: bool) -> str:
    return "reached" if reached else "MISSED"
