"""A process that is asked to end, and one that is not to outlive the one that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from dreamfusion_mesh.process import StopRequest, is_orphan

ROOT = Path(__file__).parents[1]
CHILD = """
import sys
from dreamfusion_mesh.process import die_with_parent
die_with_parent(int(sys.argv[1]))
print("goes on", flush=True)
sys.stdin.read()
"""
PARENT = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


def test_a_process_knows_its_parent() -> None:
    assert not is_orphan(os.getppid())
    assert is_orphan(os.getpid())


def test_a_process_whose_parent_is_gone_already_leaves_at_once() -> None:
    for parent, code, output in ((os.getpid(), 0, b"goes on\n"), (2**30, 1, b"")):
        done = subprocess.run([sys.executable, "-c", CHILD, str(parent)], input=b"", capture_output=True, check=False, cwd=ROOT, timeout=60)
        assert (done.returncode, done.stdout) == (code, output), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a process with its parent on Linux alone")
def test_a_process_ends_with_its_parent_however_that_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert parent.stdout.readline() == b"goes on\n"
        parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs([child], timeout=60)[1] == []


def test_what_a_small_process_imports_for_it_is_small() -> None:
    """The unwrap's process has the time that its user gives it."""
    command = "import sys, dreamfusion_mesh.process; print({'torch', 'numpy', 'pydantic', 'typer'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True, cwd=ROOT, timeout=60)
    assert done.stdout == b"set()\n"


@pytest.mark.parametrize(("moments", "again"), [((0.0,), False), ((0.0, 0.01), False), ((0.0, 0.01, 5.0), True), ((0.0, 5.0), True)])
def test_signals_that_come_together_are_one_request(moments: tuple[float, ...], again: bool) -> None:
    """`timeout` sends its signal to the process and to the group, schedulers to all processes: none of them means "at once"."""
    times = iter(moments)  # the clock is read once for each signal
    request = StopRequest(lambda: next(times))
    for _ in moments:
        request.note(signal.SIGTERM, None)
    request.close()
    assert request.stop is not None
    assert request.again == again
