"""What a worker promises: the function's arrays, or why there are none, within its time; and no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import psutil
import pytest

from dreamfusion_mesh import worker
from dreamfusion_mesh.worker import WorkerFailed, run_worker

CRASH = "import os; os.abort()"
NONSENSE = "import sys; sys.stdin.buffer.read(); print('1 2 3')"


def swapped(first: np.ndarray, second: np.ndarray) -> Sequence[np.ndarray]:
    print("what a library prints goes astray")
    return second, first


def failing(values: np.ndarray) -> Sequence[np.ndarray]:
    raise ValueError(f"{len(values)} values are too many")


def sleeping() -> Sequence[np.ndarray]:
    time.sleep(600)
    return ()


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file by its name as a module, in this process's path and so in the worker's."""
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    for work in (swapped, failing, sleeping):
        monkeypatch.setattr(work, "__module__", "test_worker")


def test_arrays_go_there_and_back_whatever_is_printed() -> None:
    single, many = np.array(7), np.arange(12, dtype=np.uint32).reshape(3, 4)
    found = run_worker(swapped, (single, many), 60, "it")
    assert [(array.dtype, array.tolist()) for array in found] == [(many.dtype, many.tolist()), (single.dtype, 7)]


def test_an_error_is_told_with_its_last_line() -> None:
    with pytest.raises(WorkerFailed, match=r"^it ended with 1 \(ValueError: 3 values are too many\)$"):
        run_worker(failing, (np.zeros(3),), 60, "it")


def test_time_is_kept_and_no_process_left() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(WorkerFailed, match=r"it was not done after 0\.2 s"):
        run_worker(sleeping, (), 0.2, "it")
    assert {child.pid for child in psutil.Process().children()} <= before


@pytest.mark.parametrize(("code", "message"), [(CRASH, "ended with -6"), (NONSENSE, "unknown format")])
def test_a_crash_and_nonsense_are_told(code: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_BOOTSTRAP", code)
    with pytest.raises(WorkerFailed, match=message):
        run_worker(swapped, (), 60, "it")


def test_what_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerFailed, match="could not be started"):
        run_worker(swapped, (), 60, "it")


HELD = """
import signal, sys; sys.path[:0] = {path!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started without it
import test_worker
from dreamfusion_mesh.worker import run_worker
print("ready", flush=True)
run_worker(test_worker.sleeping, (), 600, "it")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a worker with its parent on Linux alone")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_worker_ends_with_its_parent(how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", HELD.format(path=sys.path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        workers = _wait(lambda: psutil.Process(parent.pid).children())
        assert workers
        os.kill(parent.pid, how)
        parent.wait(timeout=20)
        assert _wait(lambda: not any(_lives(worker) for worker in workers))
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _wait(ask, seconds: float = 20):
    end = time.monotonic() + seconds
    while not (found := ask()) and time.monotonic() < end:
        time.sleep(0.02)
    return found
