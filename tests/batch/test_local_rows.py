"""What becomes of rows in a batch on this machine: real processes, with stub rows in them."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from stub_batches import Batch, with_model
from stub_rows import SETTINGS, StubRows, asset_bytes, job

from dreamfusion_mesh.batch.records import Attempt, Event, Options, Totals, retry_seed
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.run.lock import locked
from dreamfusion_mesh.run.out import LOCK
from dreamfusion_mesh.run.settings import read_settings

TIME_LIMIT = 8.0  # seconds; a stub row takes some milliseconds


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_rows_are_done_once_and_then_skipped(workers: int, batch: Batch) -> None:
    jobs = [job(f"row-{number}", f"a mug {number}", number) for number in range(20)]
    assert batch.run(jobs, workers=workers) == Totals(0, 20, 0, 0)
    for each in jobs:
        assert batch.asset(each.name) == asset_bytes(Attempt(each))
        assert batch.kinds(each.name) == ["started", "fitted", "done"]
    assert batch.failures() == {each.name: None for each in jobs}
    assert [event.kind for event in batch.events].count("loaded") == workers
    assert sorted(entry.name for entry in (batch.out / ".work").iterdir()) == [f"worker-{n}.log" for n in range(workers)]
    assert batch.run(jobs) == Totals(20, 0, 0, 0)
    assert [event.kind for event in batch.events] == ["planned"]


FAULTS = {  # by row: its words, and how it fails
    20: ("full", None),
    50: ("fail-fit", "error"),
    60: ("fail-delivery", "error"),
    70: ("die-fit", "crashed"),
    80: ("die-delivery", "crashed"),
    90: ("exit-fit", "crashed"),
    100: ("bad", "bad input"),
    110: ("memory", "error"),
    120: ("empty 1", "empty"),
    198: ("hang-fit", "time limit"),
    199: ("hang-delivery", "time limit"),
}


def faulty_batch(batch: Batch, size: int) -> None:
    prompts = {number: FAULTS.get(number, ("a red mug", None))[0] for number in range(200)}
    jobs = [job(f"row-{number}", prompt, number) for number, prompt in prompts.items()]
    with pytest.raises(RunFailed, match=r"^the disk is full: .*row-20: cannot be written .*; the same command goes on from here$"):
        batch.run(jobs, size=size, workers=2, time_limit=TIME_LIMIT)
    totals = batch.run(jobs, size=size, workers=2, time_limit=TIME_LIMIT)
    assert (totals.before + totals.done, totals.failed, totals.left) == (190, 10, 0)
    wanted = {f"row-{number}": FAULTS.get(number, ("", None))[1] for number in range(200)}
    assert batch.failures() == wanted
    for each in jobs:
        if wanted[each.name] is None:
            assert batch.asset(each.name) == asset_bytes(Attempt(each), size)
        else:
            assert not (batch.out / each.name).exists()
            assert read_settings(batch.out / ".work" / each.name / "run.yaml") == Attempt(each).config
            assert batch.traceback(each.name)
    shutil.rmtree(batch.out)


def test_of_200_rows_with_faults_the_right_ones_fail_and_none_is_lost(batch: Batch) -> None:
    faulty_batch(batch, 2**16)


@pytest.mark.sweep
def test_of_200_rows_with_files_as_large_as_the_demos_the_right_ones_fail(batch: Batch) -> None:
    faulty_batch(batch, 2**21)


@pytest.mark.parametrize(
    ("words", "failure", "message", "trace"),
    [
        ("fail-fit", "error", "ValueError: planted in the fit", "Traceback.*planted in the fit"),
        ("fail-delivery", "error", "ValueError: planted in the delivery", "Traceback.*planted in the delivery"),
        ("bad", "bad input", "prompt: is bad", "Traceback.*BadInput"),
        ("memory", "error", "out of memory", "Traceback.*MemoryError"),
        ("die-fit", "crashed", r"its process was killed by SIGKILL, perhaps for want of memory; its log is .*worker-0.log", "SIGKILL"),
        ("exit-fit", "crashed", r"its process ended with exit code 7; its log is .*worker-0.log", "exit code 7"),
    ],
)
def test_a_row_that_fails_says_why_and_the_others_go_on(words: str, failure: str, message: str, trace: str, batch: Batch) -> None:
    assert batch.run([job("a"), job("b", words, 1), job("c", seed=2)], retries=2) == Totals(0, 2, 1, 0)
    assert batch.failures() == {"a": None, "b": failure, "c": None}
    assert batch.kinds("b")[-1] == "failed"
    assert re.fullmatch(message, batch.message("b"))
    assert re.search(trace, batch.traceback("b"), re.DOTALL)


def test_a_row_that_is_done_when_its_process_ends_is_done(batch: Batch) -> None:
    jobs = [job("a", "die-end"), job("b", "hang-end", 1), job("c", seed=2)]
    assert batch.run(jobs, time_limit=TIME_LIMIT) == Totals(0, 3, 0, 0)
    assert batch.failures() == {"a": None, "b": None, "c": None}
    assert batch.run(jobs) == Totals(3, 0, 0, 0)


def test_a_row_that_is_killed_for_its_time_is_not_taken_for_one_that_wanted_memory(batch: Batch) -> None:
    """Its folder has no lock with the stage that was under way, of which the next process there would warn."""
    assert batch.run([job("a", "hang-fit"), job("b", "hang-delivery", 1)], time_limit=TIME_LIMIT / 4) == Totals(0, 0, 2, 0)
    assert {path.name for path in (batch.out / ".work" / "a").iterdir()} == {"run.yaml", "traceback.txt"}
    assert not (batch.out / ".work" / "b" / LOCK).exists()


def test_a_row_that_failed_is_tried_again_by_the_next_call(batch: Batch) -> None:
    jobs = [job("a", "fail-fit")]
    assert batch.run(jobs) == batch.run(jobs) == Totals(0, 0, 1, 0)
    assert batch.kinds("a") == ["started", "failed"]


def test_a_row_that_is_no_good_is_tried_with_the_stated_seeds(batch: Batch) -> None:
    poor = job("a", "empty 2", 5)
    assert batch.run([poor, job("b")], retries=2) == Totals(0, 2, 0, 0)
    assert batch.kinds("a") == ["started", "retry", "started", "retry", "started", "fitted", "done"]
    assert batch.asset("a") == asset_bytes(Attempt(poor, 2))
    assert read_settings(batch.out / "a" / "run.yaml").seed == retry_seed(5, 2)
    assert not [entry for entry in (batch.out / ".work").iterdir() if entry.is_dir()]


def test_attempts_end_with_the_retries_and_go_on_where_a_later_call_allows_more(batch: Batch) -> None:
    poor = [job("a", "empty 2", 5)]
    assert batch.run(poor, retries=1) == Totals(0, 0, 1, 0)
    assert batch.run(poor, retries=1) == Totals(0, 0, 1, 0)
    assert [event.kind for event in batch.events] == ["planned", "failed"]  # without any work
    assert batch.run(poor, retries=2) == Totals(0, 1, 0, 0)
    assert batch.kinds("a") == ["started", "fitted", "done"]


def test_under_strict_the_attempt_with_the_fewest_failed_rows_is_the_asset_and_the_job_fails(batch: Batch) -> None:
    poor, good = job("a", "audit 3 1 2", 5), job("b", "audit 1 0", 6)
    assert batch.run([poor, good], retries=2, strict=True) == Totals(0, 1, 1, 0)
    assert batch.failures() == {"a": "audit", "b": None}
    assert batch.asset("a") == asset_bytes(Attempt(poor, 1))
    assert batch.asset("b") == asset_bytes(Attempt(good, 1))
    assert batch.run([poor, good], retries=2, strict=True) == Totals(1, 0, 1, 0)
    assert [event.kind for event in batch.events] == ["planned", "failed"]


def test_without_strict_a_failed_row_of_the_audit_is_no_failure(batch: Batch) -> None:
    assert batch.run([job("a", "audit 3")], retries=2) == Totals(0, 1, 0, 0)
    assert batch.events[-1].outcome is not None
    assert batch.events[-1].outcome.audit == ("fail", "fail", "fail", "pass")


def test_a_worker_loads_each_group_once_and_is_told_words_ahead_in_windows(batch: Batch) -> None:
    settings = [with_model(model) for model in ("one", "two")]
    jobs = [job(f"row-{number}", seed=number, settings=settings[number % 2]) for number in range(160)]
    assert batch.run(jobs).done == 160
    found = Counter(note for note in batch.notes() if not note.startswith("encode 0"))
    assert found == {"start fit": 1, "start deliver": 1, "load one": 1, "load two": 1, "encode 63": 2, "encode 15": 2}


def test_a_model_that_is_missing_fails_its_rows_and_is_looked_for_once(batch: Batch) -> None:
    jobs = [job(f"row-{number}", seed=number, settings=with_model("missing") if number % 2 else SETTINGS) for number in range(20)]
    assert batch.run(jobs) == Totals(0, 10, 10, 0)
    assert batch.notes().count("load missing") == 1
    assert batch.failures() == {each.name: "bad input" if each.seed % 2 else None for each in jobs}
    assert batch.message("row-19") == "guidance 'missing': is missing"
    assert batch.traceback("row-19") == "guidance 'missing': is missing\n"


@pytest.mark.parametrize(
    ("model", "failure", "how"),
    [("unloadable", "error", "RuntimeError: the model cannot"), ("deadly", "crashed", "its process was killed by SIGKILL")],
)
def test_a_model_that_cannot_be_loaded_now_fails_its_rows_and_the_others_go_on(model: str, failure: str, how: str, batch: Batch) -> None:
    jobs = [job(f"row-{number}", seed=number, settings=SETTINGS if number % 2 else with_model(model)) for number in range(20)]
    assert batch.run(jobs) == Totals(0, 10, 10, 0)
    assert batch.notes().count(f"load {model}") == 3
    assert batch.failures() == {each.name: None if each.seed % 2 else failure for each in jobs}
    assert batch.message("row-18").startswith(f"its model could not be loaded, 3 times: {how}")
    assert batch.run(jobs) == Totals(10, 0, 10, 0)
    assert batch.notes().count(f"load {model}") == 6  # the next call tries again


def test_processes_that_do_not_start_end_the_batch_with_where_to_look(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunFailed, match=r"came to nothing 3 times, .*: it ended with exit code 1; its log is .*worker-0.log$"):
        run_batch([job("a")], out, Options(), rows=StubRows(tmp_path, broken=True))
    assert "RuntimeError: planted in the start" in (out / ".work" / "worker-0.log").read_text()


def test_a_system_that_starts_no_process_ends_the_batch_with_the_cause(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("dreamfusion_mesh.batch.child.subprocess.Popen", refuse)
    with pytest.raises(RunFailed, match=r"^batch: no process to fit can be started \(.*unavailable\); lower --workers"):
        batch.run([job("a")])


def test_a_disk_that_is_full_while_a_model_is_loaded_stops_the_batch_and_the_next_call_goes_on(batch: Batch) -> None:
    jobs = [job("a"), job("b", settings=with_model("full")), job("c", seed=2)]
    with pytest.raises(RunFailed, match=r"^the disk is full: "):
        batch.run(jobs)
    assert batch.run(jobs).left == 0
    assert batch.failures() == {"a": None, "b": None, "c": None}


def test_a_batch_runs_in_another_thread_than_the_main_one(batch: Batch) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(batch.run, [job("a")]).result() == Totals(0, 1, 0, 0)


def test_each_worker_has_a_card_of_those_that_the_user_names(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamfusion_mesh.run.device.cards", lambda required: 2)
    monkeypatch.setattr("dreamfusion_mesh.batch.run.metadata.version", lambda name: "2.0+cu126")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-8,7")
    settings = SETTINGS.model_copy(update={"device": "auto"})
    jobs = [job(f"row-{number}", seed=number, settings=settings) for number in range(8)]
    assert batch.run(jobs, workers=3).done == 8
    found = Counter(note for note in batch.notes() if "start" in note)
    assert (found["start fit on 5"], found["start fit on GPU-8"]) == (2, 1)
    assert all(note.endswith((" on 5", " on GPU-8")) for note in found)


def test_a_worker_for_each_card_is_the_default(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamfusion_mesh.run.device.cards", lambda required: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings = SETTINGS.model_copy(update={"device": "cuda"})
    assert batch.run([job(f"row-{number}", seed=number, settings=settings) for number in range(8)]).done == 8
    assert sorted(note for note in batch.notes() if "fit" in note) == ["start fit on 0", "start fit on 1"]
    assert {note for note in batch.notes() if note.startswith("load")} == {"load embedded"}


def test_a_second_batch_in_a_folder_is_refused(batch: Batch) -> None:
    with locked(batch.out), pytest.raises(BadInput, match="is in use by process"):
        batch.run([job("a")])
    assert batch.run([job("a")]) == Totals(0, 1, 0, 0)


def test_nothing_is_touched_where_the_manifest_is_another_programs(batch: Batch) -> None:
    batch.out.mkdir()
    found = {"manifest.jsonl": '{"audio": "a.wav"}\n', ".download.12345678.part": "half"}
    for name, text in found.items():
        (batch.out / name).write_text(text)
    with pytest.raises(BadInput, match="is not a batch's, or its first line is broken"):
        batch.run([job("a")])
    assert {entry.name: entry.read_text() for entry in batch.out.iterdir()} == found


def test_cuda_without_a_card_is_refused_before_anything_is_written(batch: Batch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(BadInput, match=r"^--device cuda: torch"):
        batch.run([job("a"), job("b", settings=SETTINGS.model_copy(update={"device": "cuda"}))])
    assert not batch.out.exists()


def test_a_process_in_which_memory_ran_out_is_replaced(batch: Batch) -> None:
    prompts = ["memory", "a red mug", "fail-fit", "a blue mug"]
    assert batch.run([job(f"row-{number}", prompt) for number, prompt in enumerate(prompts)]) == Totals(0, 2, 2, 0)
    assert batch.notes().count("start fit") == 2  # and none for another error


def test_the_memory_of_the_parent_does_not_grow_with_the_rows(batch: Batch) -> None:
    used: list[int] = []

    def watch(event: Event) -> None:
        if event.kind == "done":
            used.append(psutil.Process().memory_info().rss)

    jobs = [job(f"row-{number}", f"a mug {number}", number) for number in range(300)]
    assert batch.run(jobs, watch=watch).done == 300
    assert used[-1] - used[100] < 2**21
