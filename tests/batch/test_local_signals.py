"""A batch that is asked to end, and one that is killed: nothing is lost, nothing is made twice, and no process stays behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from stub_batch import start
from stub_rows import STEPS, asset_bytes, job, notes

from dreamfusion_mesh.batch.records import Attempt
from dreamfusion_mesh.run.out import LOCK

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
LONG = 60.0  # seconds, for what takes a fraction of one


@pytest.fixture(autouse=True)
def _signals_arrive() -> Iterator[None]:
    """In the processes that tests start, also where the tests run under nohup or in a shell's background, which ignore some."""
    ignored = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *arguments: None)  # which, unlike an ignored one, is not handed on
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for found in process.stdout:
        if found.rstrip("\n") == line:
            return
    raise AssertionError(f"the batch ended before it said {line!r}")


def started_processes(folder: Path) -> list[int]:
    return [int(file.stem) for file in folder.glob("*.txt")]


def assert_all_gone(folder: Path) -> None:
    """Whatever the batch started ends with it."""
    until = time.monotonic() + LONG
    left = started_processes(folder)
    while left and time.monotonic() < until:
        left = [number for number in left if psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE]
    assert not left


def finish(process: subprocess.Popen[str]) -> dict[str, int]:
    output, errors = process.communicate(timeout=LONG)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_has_the_fit_leave_a_checkpoint_and_the_next_call_goes_on(number: signal.Signals, code: int, tmp_path: Path) -> None:
    prompts = {"a": "a red mug", "b": "steps", "c": "a blue mug"}
    process = start(tmp_path / "out", tmp_path / "notes", prompts)
    wait_for(process, "stage b")
    process.send_signal(number)
    errors = process.communicate(timeout=LONG)[1]
    assert process.returncode == code
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 1
    assert (tmp_path / "out" / ".work" / "b" / STEPS).read_text() == "stopped"
    assert not (tmp_path / "out" / "c").exists()
    assert_all_gone(tmp_path / "notes")
    totals = finish(start(tmp_path / "out", tmp_path / "notes", prompts))
    assert totals["before"] + totals["done"] == 3
    assert totals["done"] >= 2  # b, and c; a's delivery may have been stopped


def test_a_signal_to_the_whole_group_of_processes_does_no_more(tmp_path: Path) -> None:
    """As Ctrl-C in a terminal sends it, and some schedulers do: each process gets it, the parent's order comes on top."""
    prompts = {"a": "steps", "b": "a red mug"}
    process = start(tmp_path / "out", tmp_path / "notes", prompts, own_group=True)
    wait_for(process, "stage a")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert (tmp_path / "out" / ".work" / "a" / STEPS).exists()
    assert finish(start(tmp_path / "out", tmp_path / "notes", prompts)) == {
        "before": 0,
        "done": 2,
        "failed": 0,
        "left": 0,
    }


def test_a_time_limit_may_be_longer_than_the_system_can_wait(tmp_path: Path) -> None:
    process = start(tmp_path / "out", tmp_path / "notes", {"a": "steps"}, time_limit=1e300)
    for _ in range(4):  # between which nothing but the limit is waited for
        wait_for(process, "stage a")
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=LONG)[1]
    assert process.returncode == 143, errors


def test_a_signal_to_a_worker_alone_loses_nothing(tmp_path: Path) -> None:
    process = start(tmp_path / "out", tmp_path / "notes", {"a": "steps", "b": "a red mug"})
    wait_for(process, "stage a")
    for child in psutil.Process(process.pid).children():
        child.terminate()
    assert finish(process) == {"before": 0, "done": 2, "failed": 0, "left": 0}


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_batch_at_once(second: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path / "out", tmp_path / "notes", {"a": "hang-fit"})
    wait_for(process, "started a")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)  # the fit does not listen; whatever the time, it never ends by itself
    process.send_signal(second)
    process.communicate(timeout=LONG)
    assert process.returncode == 143
    assert_all_gone(tmp_path / "notes")
    assert not (tmp_path / "out" / ".work" / "a" / LOCK).exists()


@pytest.mark.parametrize("whole_group", [False, True])
def test_a_delivery_that_a_signal_ends_is_not_taken_for_one_that_wanted_memory(whole_group: bool, tmp_path: Path) -> None:
    """Its folder has no lock with the stage that was under way, of which the next process there would warn."""
    process = start(tmp_path / "out", tmp_path / "notes", {"a": "hang-delivery"}, own_group=True)
    lock, until = tmp_path / "out" / ".work" / "a" / LOCK, time.monotonic() + LONG
    while not (lock.exists() and lock.read_text().endswith("delivery")):
        assert time.monotonic() < until
        time.sleep(0.01)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert not lock.exists()


def killed_batches(tmp_path: Path, kills: int, draws: random.Random) -> None:
    """Kill a batch of twelve rows after a random number of its lines, and a random moment more, and go on."""
    prompts = {f"row-{number}": f"a mug {number}" for number in range(12)}
    prompts |= {"row-3": "empty 1", "row-8": "audit 1"}
    out, folder = tmp_path / "out", tmp_path / "notes"
    for _ in range(kills):
        process = start(out, folder, prompts, retries=1)
        assert process.stdout is not None
        for _ in range(draws.randrange(5)):
            process.stdout.readline()
        time.sleep(draws.random() * 0.02)
        process.kill()
        process.communicate()
        assert_all_gone(folder)
        done = {file.parent.name for file in out.glob("*/asset.glb")}
        for name in done:
            assert (out / name / "result.json").exists()
    totals = finish(start(out, folder, prompts, retries=1))
    assert (totals["before"] + totals["done"], totals["failed"], totals["left"]) == (12, 0, 0)
    for seed, (name, prompt) in enumerate(prompts.items()):
        number = 1 if name == "row-3" else 0
        assert (out / name / "asset.glb").read_bytes() == asset_bytes(Attempt(job(name, prompt, seed), number))
    assert not [entry for entry in (out / ".work").iterdir() if entry.is_dir()]
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
    assert sorted(line["name"] for line in lines if line["status"] == "done") == sorted(prompts)  # each of them once


def test_a_batch_that_is_killed_at_random_moments_makes_every_asset_once(tmp_path: Path) -> None:
    killed_batches(tmp_path, 6, random.Random(0))


@pytest.mark.sweep
def test_a_batch_that_is_killed_at_fifty_random_moments_makes_every_asset_once(tmp_path: Path) -> None:
    killed_batches(tmp_path, 50, random.Random(1))


def test_a_killed_batch_leaves_no_process(tmp_path: Path) -> None:
    process = start(tmp_path / "out", tmp_path / "notes", {"a": "hang-fit"})
    wait_for(process, "started a")
    process.kill()
    process.communicate()
    assert len(started_processes(tmp_path / "notes")) >= 1
    assert_all_gone(tmp_path / "notes")
    assert "start fit" in notes(tmp_path / "notes")
