"""The batch's figures: the cost of scheduling, resuming and reading a manifest over stub rows, and what overlapped deliveries save.

The stub rows are those of the tests, made to do even less.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
from dreamfusion_mesh.run.out import METRICS_PICTURE
from tools.bench.machine import whole_process
from tools.bench.records import Figure, in_milliseconds

sys.path.append(str(Path(__file__).parents[2] / "tests" / "support"))  # batches' processes take it over
from stub_rows import FINE, StubRows, write_plainly

ROWS, MANIFEST_ROWS = 10_000, 1_000_000
OVERHEAD, RESUME, SCAN, SCAN_BYTES, GAP, OVERLAP = 5e-3, 3.0, 60.0, 2**30, 2.0, 1.15  # targets: seconds, bytes, and a ratio
_CHUNK = 10_000  # entries that are appended at once
_COLORS = ("red", "blue", "green", "white")
_WHOLE = Outcome(seconds=0.0, triangles=12, audit=("pass",) * 8)


def measure(rounds: int, smoke_rows: int) -> Iterator[Figure]:
    """Every figure; `smoke_rows` of the preset smoke show what overlapped deliveries save, in so many rounds."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _scheduling(scheduled(Path(folder), ROWS))
    with tempfile.TemporaryDirectory() as folder:
        yield from _manifest(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _overlap(Path(folder), rounds, smoke_rows)


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


@dataclass(frozen=True)
class Scheduled:
    """A batch of stub rows: seconds to read its table, to schedule it, of them those that this process worked, and to find it done.

    memory  bytes of this process after each tenth of the rows
    """

    rows: int
    table: float
    all: float
    busy: float
    resumed: float
    memory: tuple[int, ...]


def scheduled(folder: Path, rows: int) -> Scheduled:
    """Run a batch of so many rows in `folder`, and again when it is done."""
    table = folder / "rows.csv"
    table.write_text("prompt,name,seed\n" + "".join(f"a red mug,row-{number},{number}\n" for number in range(rows)))
    started = time.perf_counter()
    jobs = read_jobs(table, Flags("smoke", device="cpu"))
    read = time.perf_counter() - started
    watched, used, started = Watched(rows, keep=False), time.process_time(), time.perf_counter()
    totals = run_batch(jobs, folder / "out", Options(), watched, LeastRows(folder))
    taken, busy = time.perf_counter() - started, time.process_time() - used
    assert totals.done == rows, totals
    started = time.perf_counter()
    totals = run_batch(jobs, folder / "out", Options(), watched, LeastRows(folder))
    assert totals.before == rows, totals
    return Scheduled(rows, read, taken, busy, time.perf_counter() - started, tuple(watched.memory))


def _scheduling(found: Scheduled) -> Iterator[Figure]:
    rows = found.rows
    yield Figure(f"reading a table of {rows:,} rows", "s", (found.table,))
    yield in_milliseconds(f"scheduling, a row of {rows:,} stub rows", [found.all / rows], OVERHEAD)
    yield in_milliseconds("scheduling, a row: of the batch's own process", [found.busy / rows])
    for name, bytes_held in (("after a tenth of the rows", found.memory[0]), ("at their end", found.memory[-1])):
        yield Figure(f"memory of the batch's own process {name}", "MiB", (bytes_held / 2**20,))
    yield Figure(f"resuming with {rows:,} finished rows", "s", (found.resumed,), target=RESUME)


_SCAN = """
import sys, time
from pathlib import Path
from dreamfusion_mesh.batch.manifest import read_manifest
started = time.perf_counter()
found = read_manifest(Path(sys.argv[1]))
print(len(found), time.perf_counter() - started)
"""


def _manifest(folder: Path) -> Iterator[Figure]:
    """A line for each of a million jobs, and one more for some, as a batch leaves them."""
    (job,) = _jobs(folder, ["a red mug with white parts,mug,7"])
    manifest = Manifest(folder / "manifest.jsonl")
    for numbers in in_chunks(MANIFEST_ROWS):
        jobs = (Job(f"{job.name}-{number}", job.prompt, number, job.settings, job.key) for number in numbers)
        manifest.append(make_entry(Attempt(each), "done", _WHOLE) for each in jobs)
    ended = whole_process(["-c", _SCAN, str(manifest.path)])
    lines, seconds = ended.output.split()
    assert int(lines) == MANIFEST_ROWS, lines
    yield Figure(f"reading a manifest of {MANIFEST_ROWS:,} lines", "s", (float(seconds),), target=SCAN)
    yield Figure("memory of the process that reads it", "MiB", (ended.memory / 2**20,), target=SCAN_BYTES / 2**20)


def in_chunks(rows: int) -> Iterator[range]:
    """Numbers of rows, as many at once as a manifest takes up well."""
    return (range(first, min(first + _CHUNK, rows)) for first in range(0, rows, _CHUNK))


def _overlap(folder: Path, rounds: int, rows: int) -> Iterator[Figure]:
    """Rows whose deliveries run beside the next fits, and the same rows one after the other in one process with the model loaded."""
    jobs = _jobs(folder, [f"a {_COLORS[number % 4]} mug,row-{number},{number}" for number in range(rows)])
    together, alone, gaps = list[float](), list[float](), list[float]()
    for turn in range(rounds):
        watched = Watched(rows)
        totals = run_batch(jobs, folder / f"batch-{turn}", Options(), watched)
        assert totals.done == rows, totals
        loaded = next(at for at, event in watched.times if event.kind == "loaded")
        together.append(watched.times[-1][0] - loaded)
        gaps += _gaps(watched.times)
        alone.append(float(whole_process(["-c", _ALONE, *_texts(jobs, folder / f"alone-{turn}")]).output))
        different = _different(folder / f"batch-{turn}", folder / f"alone-{turn}")
        assert not different, different
    yield Figure("last step of a row to the first of the next", "s", tuple(gaps), target=GAP)
    yield Figure(f"{rows} rows of smoke, overlapped", "s", tuple(together))
    yield Figure(f"{rows} rows of smoke, one after the other", "s", tuple(alone), note="the same files, byte for byte")
    ratios = tuple(other / our for our, other in zip(together, alone, strict=True))
    yield Figure(f"{rows} rows of smoke: times faster", "x", ratios, target=OVERLAP, at_least=True)


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
    """Names of files of models and pictures whose bytes are not the same in both folders of assets; plots of the seconds never are."""
    found = [file.relative_to(other) for pattern in ("*.glb", "*.obj", "*.png") for file in other.glob(f"*/{pattern}")]
    files = [file for file in found if file.name != METRICS_PICTURE]
    return [str(file) for file in files if (one / file).read_bytes() != (other / file).read_bytes()]


def _jobs(folder: Path, rows: Sequence[str]) -> list[Job]:
    (folder / "rows.csv").write_text("\n".join(["prompt,name,seed", *rows]) + "\n")
    return read_jobs(folder / "rows.csv", Flags("smoke", device="cpu"))
