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
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.fuzz import ROOT
from tools.fuzz.targets import target_of
from tools.fuzz.usage import Usage

ENTRY = "dreamfusion_mesh.cli:main"
_POLL_SECONDS = 0.05
_START_SECONDS = 300.0


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    seconds    of work and of waiting for anything but the processor, so that a busy machine fails nothing; LONGEST times as many on the
               clock end a case in any state
    allowance  bytes of address space beyond what the worker has
    resident   bytes of memory of the whole worker
    """

    seconds: float = 20.0
    allowance: int = 6 << 30
    resident: int = 5 << 30

    LONGEST = 10


@dataclass(frozen=True)
class Outcome:
    """One case's end; `faults` is empty where it is as README says. `changed` are the names of the files that were."""

    number: int
    target: str
    command: str
    code: int | str | None
    faults: tuple[str, ...]
    seconds: float
    changed: tuple[str, ...] = ()


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
            with WorkerProcess(home, corpus, seed, entry, limits) as process:
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


class WorkerProcess:
    """A worker and its pipes; started when it is first asked, and again after it was killed."""

    def __init__(self, home: Path, corpus: Path, seed: int, entry: str, limits: Limits) -> None:
        self._home, self._seed, self._limits = home, seed, limits
        home.mkdir(parents=True)
        values = {"home": str(home), "corpus": str(corpus), "seed": seed, "entry": entry, "allowance": limits.allowance}
        self._command = [sys.executable, "-m", "tools.fuzz.worker", json.dumps(values)]
        self.worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._kill()

    def run(self, number: int) -> Outcome:
        worker = self.worker or self._start()
        assert worker.stdin is not None
        (self._home / "case.json").unlink(missing_ok=True)
        usage = Usage(worker.pid)
        with suppress(BrokenPipeError):  # it died after the case before; its output has ended too
            worker.stdin.write(f"{number}\n".encode())
            worker.stdin.flush()
        while True:
            line, ended = self._answer(worker, _POLL_SECONDS)
            usage.look()
            why = self._why(ended, usage)
            if why:
                self._kill()
            if line is not None:
                found = json.loads(line)
                faults = (*found["faults"], *([why] if why else []))
                return Outcome(number, found["target"], found["command"], found["code"], faults, usage.seconds, tuple(found["changed"]))
            if why:
                return Outcome(number, target_of(self._seed, number), self._last_command(), None, (why,), usage.seconds)

    def _why(self, ended: bool, usage: Usage) -> str:
        """Why the worker cannot be asked on; "" where it can."""
        assert self.worker is not None
        if ended:
            code = self.worker.wait()
            return f"killed by {signal.Signals(-code).name}" if code < 0 else f"left the process with code {code}"
        if usage.resident > self._limits.resident:
            return f"over {self._limits.resident >> 20} MiB of memory"
        over = usage.seconds > self._limits.seconds or usage.clock > self._limits.LONGEST * self._limits.seconds
        return f"over {self._limits.seconds:g} s" if over else ""

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
        self.worker = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment, start_new_session=True
        )
        line, _ = self._answer(self.worker, _START_SECONDS)
        if line != b"ready\n":
            self._kill()
            raise RuntimeError("a worker of the fuzzing did not start; what it wrote stands above")
        return self.worker

    def _answer(self, worker: subprocess.Popen[bytes], seconds: float) -> tuple[bytes | None, bool]:
        """A line that the worker wrote, and whether its output ended instead."""
        assert worker.stdout is not None
        if not select.select([worker.stdout], [], [], seconds)[0]:
            return None, False
        line = worker.stdout.readline()
        return (line, False) if line.endswith(b"\n") else (None, True)

    def _kill(self) -> None:
        """End the worker and what it started, which share a session."""
        worker, self.worker = self.worker, None
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


def _keep(home: Path, target: Path) -> None:
    """Copy a failing case: its folder as the command left it, its arguments, and what it wrote."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("case", "case.json", "stdout.txt", "stderr.txt"):
        source = home / name
        if source.is_dir():
            with suppress(shutil.Error):  # a pipe is not copied
                shutil.copytree(source, target / name, symlinks=True, ignore_dangling_symlinks=True)
        elif source.exists():
            shutil.copy(source, target / name)
