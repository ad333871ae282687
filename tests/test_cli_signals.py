"""Interrupted: the exit code tells the signal, one line tells how to go on, and nothing half-written or running is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from commands import signals_arrive

ROOT = Path(__file__).parents[1]
STUB = [sys.executable, str(ROOT / "tests" / "support" / "stub_command.py")]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.fixture(autouse=True)
def _signals_arrive() -> Iterator[None]:
    with signals_arrive():
        yield


def start(command: list[str], cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"the process ended before it said {words!r}")


def stopped(when: str, number: signal.Signals, cwd: Path, *more: str, verb: str = "generate") -> tuple[int, str]:
    """Exit code and last line of the stubbed command, sent a signal where it says `ready`."""
    arguments = ["a red mug", "--out", "my run"] if verb == "generate" else ["my run"]
    process = start([*STUB, when, verb, *arguments, *more], cwd)
    wait_for(process, "ready")
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert output == ""
    assert "Traceback" not in errors
    return process.returncode, errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "how", "code"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "ended by SIGTERM", 143), (signal.SIGHUP, "ended by SIGHUP", 129)],
)
def test_each_signal_has_its_exit_code_and_the_line_says_how_to_go_on(number: signal.Signals, how: str, code: int, tmp_path: Path) -> None:
    go_on = "dreamfusion-mesh generate --out 'my run'"
    assert stopped("threads", number, tmp_path) == (code, f"error: {how}; go on, from the last checkpoint, with: {go_on}")
    assert (tmp_path / "my run" / "written").exists()  # the checkpoint in the background was not cut off


def test_what_it_goes_on_from_is_said(tmp_path: Path) -> None:
    again = "dreamfusion-mesh generate 'a red mug' --out 'my run'"
    assert stopped("start", signal.SIGINT, tmp_path) == (130, f"error: interrupted; nothing was begun in my run; again with: {again}")
    code, line = stopped("begun", signal.SIGINT, tmp_path, "--strict")
    assert (code, line) == (130, "error: interrupted; go on, from the beginning, with: dreamfusion-mesh generate --out 'my run' --strict")


@pytest.mark.parametrize("when", ["swallowed", "destructor"])
def test_a_signal_that_a_library_drops_is_acted_on_at_the_next_step(when: str, tmp_path: Path) -> None:
    code, line = stopped(when, signal.SIGTERM, tmp_path)
    assert code == 143
    assert line.startswith("error: ended by SIGTERM; go on, from the last checkpoint")


def test_a_second_signal_does_not_disturb_the_clean_up(tmp_path: Path) -> None:
    process = start([*STUB, "checkpoint", "generate", "a red mug", "--out", "run"], tmp_path)
    wait_for(process, "ready")
    process.send_signal(signal.SIGINT)
    wait_for(process, "cleaning")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1
    assert "go on, from the last checkpoint" in errors
    assert (tmp_path / "run" / "cleaned").exists()


def test_a_signal_that_the_parent_has_ignored_stays_ignored(tmp_path: Path) -> None:
    """As under nohup: the work goes on, here to the next signal."""
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *STUB, "begun", "generate", "a red mug", "--out", "run"]
    process = start(command, tmp_path)
    wait_for(process, "ready")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_run_that_is_interrupted_leaves_no_lock_and_no_half_file(tmp_path: Path) -> None:
    """Of more steps than a minute has time for, so that the signal is never late; the preset leaves a checkpoint at each."""
    arguments = ["generate", "a red mug", "--preset", "smoke", "--device", "cpu", "--set", "coarse.steps=100000", "--out", "run"]
    process = start([sys.executable, "-m", "dreamfusion_mesh", *arguments], tmp_path)
    while not (tmp_path / "run" / "metrics.jsonl").exists():  # which follows the first checkpoint
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    line = "error: interrupted; go on, from the last checkpoint, with: dreamfusion-mesh generate --out run"
    assert errors.splitlines()[-1] == line
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["checkpoints", "metrics.jsonl", "run.yaml"]
    assert [file.name for file in (tmp_path / "run" / "checkpoints").iterdir()] == ["coarse.part.safetensors"]


UNWRAPPING = """
from dreamfusion_mesh import process
from dreamfusion_mesh import worker
served = "worker.serve("
assert served in worker._BOOTSTRAP
slow = "import time; worker.die_with_parent(int(sys.argv[2])); time.sleep(600); worker.serve("
worker._BOOTSTRAP = worker._BOOTSTRAP.replace(served, slow)
from dreamfusion_mesh import cli
process.run(cli.main)
"""


def test_an_export_that_is_ended_in_its_unwrap_leaves_the_run_and_no_process(finished, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    process = start([sys.executable, "-c", UNWRAPPING, "export", "run", "--set", "mesh.triangles=900"], tmp_path)
    wait_for(process, "deliver 1/5")
    while not (children := psutil.Process(process.pid).children()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "run is as it was, or the next command puts it right; again with: dreamfusion-mesh export run --set" in errors
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert psutil.wait_procs(children, timeout=60)[1] == []
