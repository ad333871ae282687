"""Worker processes: given cases one at a time, killed and replaced where they hang, die or grow."""

from __future__ import annotations

import json
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tools.fuzz.corpus import ROOT
from tools.fuzz.targets import target_of

ENTRY = "dreamfusion_mesh.cli:main"
_POLL_SECONDS = 0.05
_START_SECONDS = 300.0


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    seconds    of processor time; a case that waits is ended after WAITING times as many on the clock, so that a busy machine fails nothing
    allowance  bytes of address space beyond what the worker has
    resident   bytes of memory of the whole worker
    """

    seconds: float = 20.0
    allowance: int = 6 << 30
    resident: int = 5 << 30

    WAITING = 4


@dataclass(frozen=True)
class Outcome:
    """One case's end; `faults` is empty where it is as README says."""

    number: int
    target: str
    command: str
    code: int | str | None
    faults: tuple[str, ...]
    seconds: float


def run_cases(
    numbers: Iterable[int], seed: int, corpus: Path, jobs: int, limits: Limits, keep: Path | None = None, entry: str = ENTRY
) -> Iterator[Outcome]:
    """Run the cases in `jobs` worker processes; outcomes in the order in which they end. Failing cases' folders are copied to `keep`."""
    waiting: Iterator[int] = iter(numbers)
    lock, outcomes = threading.Lock(), queue.Queue[Outcome | BaseException | None]()

    def following() -> int | None:
        with lock:
            return next(waiting, None)

    def work(home: Path) -> None:
        try:
            with _Process(home, corpus, seed, entry, limits) as process:
                while (number := following()) is not None:
                    outcome = process.run(number)
                    if outcome.faults and keep is not None:
                        _keep(home, keep / f"{seed}-{number}")
                    outcomes.put(outcome)
            outcomes.put(None)
        except BaseException as error:
            outcomes.put(error)

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        threads = [threading.Thread(target=work, args=(Path(folder) / f"worker-{job}",), daemon=True) for job in range(jobs)]
        for thread in threads:
            thread.start()
        running = jobs
        while running:
            outcome = outcomes.get()
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is None:
                running -= 1
            else:
                yield outcome


class _Process:
    """A worker and its pipes; started when it is first asked, and again after it was killed."""

    def __init__(self, home: Path, corpus: Path, seed: int, entry: str, limits: Limits) -> None:
        self._home, self._seed, self._limits = home, seed, limits
        home.mkdir(parents=True)
        values = {"home": str(home), "corpus": str(corpus), "seed": seed, "entry": entry, "allowance": limits.allowance}
        self._command = [sys.executable, "-m", "tools.fuzz.worker", json.dumps(values)]
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *error: object) -> None:
        self._kill()

    def run(self, number: int) -> Outcome:
        worker = self._worker or self._start()
        assert worker.stdin is not None
        (self._home / "case.json").unlink(missing_ok=True)
        usage = psutil.Process(worker.pid)
        begun, used = time.monotonic(), _processor_seconds(usage)
        worker.stdin.write(f"{number}\n".encode())
        worker.stdin.flush()
        while True:
            line, ended = self._answer(worker, _POLL_SECONDS)
            if line is not None:
                found = json.loads(line)
                return Outcome(number, found["target"], found["command"], found["code"], tuple(found["faults"]), found["seconds"])
            taken, resident = 0.0, 0
            with suppress(psutil.Error):
                taken, resident = _processor_seconds(usage) - used, usage.memory_info().rss
            why = self._why(ended, taken, time.monotonic() - begun, resident)
            if why:
                self._kill()
                return Outcome(number, target_of(self._seed, number), self._last_command(), None, (why,), taken)

    def _why(self, ended: bool, taken: float, waited: float, resident: int) -> str:
        """Why the worker cannot be asked on; "" where it can."""
        assert self._worker is not None
        if ended:
            code = self._worker.wait()
            return f"killed by {signal.Signals(-code).name}" if code < 0 else f"left the process with code {code}"
        if taken > self._limits.seconds or waited > self._limits.WAITING * self._limits.seconds:
            return f"over {self._limits.seconds:g} s"
        return f"over {self._limits.resident >> 20} MiB of memory" if resident > self._limits.resident else ""

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
        for name in ("DREAMFUSION_MESH_GLTF_VALIDATOR", "NODE_PATH"):  # another program, which takes longer than all else
            environment.pop(name, None)
        self._worker = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment, start_new_session=True
        )
        line, _ = self._answer(self._worker, _START_SECONDS)
        if line != b"ready\n":
            self._kill()
            raise RuntimeError("a worker of the fuzzing did not start; what it wrote stands above")
        return self._worker

    def _answer(self, worker: subprocess.Popen[bytes], seconds: float) -> tuple[bytes | None, bool]:
        """A line that the worker wrote, and whether its output ended instead."""
        assert worker.stdout is not None
        if not select.select([worker.stdout], [], [], seconds)[0]:
            return None, False
        line = worker.stdout.readline()
        return (line, False) if line else (None, True)

    def _kill(self) -> None:
        """End the worker and what it started, which share a session."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        for pipe in (worker.stdin, worker.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        worker.wait()

    def _last_command(self) -> str:
        try:
            return " ".join(json.loads((self._home / "case.json").read_text())["arguments"])[:500]
        except (OSError, ValueError):
            return "(while its files were made)"


def _processor_seconds(process: psutil.Process) -> float:
    """Seconds that a process and those it started, and waited for, have used of the processor."""
    times: Any = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def _keep(home: Path, target: Path) -> None:
    """Copy a failing case: its folder as the command left it, its arguments, and what it wrote."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("case", "case.json", "stdout.txt", "stderr.txt"):
        source = home / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore_dangling_symlinks=True)
        elif source.exists():
            shutil.copy(source, target / name)
