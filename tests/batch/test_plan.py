"""What is left of a batch, by what the manifest says and what lies in its folder."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest
from batch_folders import PASSED, begin, contents, done, finish, make_job, started
from privileges import permissions_hold

from dreamfusion_mesh.batch.entry import Entry, make_entry
from dreamfusion_mesh.batch.finished import best_attempt, find_attempt, read_outcome
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.plan import Plan, Todo, make_plan
from dreamfusion_mesh.batch.records import Attempt, Job, Options, Outcome
from dreamfusion_mesh.errors import BadInput

MUG, OTHER = make_job(), make_job(steps=40)
POOR = ("fail", "not measured", *PASSED[2:])


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    (tmp_path / "batch").mkdir()
    return BatchFolder(tmp_path / "batch")


def plan(folder: BatchFolder, *entries: Entry, jobs: tuple[Job, ...] = (MUG,), retries: int = 0, strict: bool = False) -> Plan:
    """The plan where the manifest has these entries; nothing may be written for it."""
    before = contents(folder.path)
    made = make_plan(jobs, folder, {entry.name: entry for entry in entries}, Options(retries=retries, strict=strict))
    assert contents(folder.path) == before
    return made


def failed(attempt: Attempt, failure: str, audit: tuple[str, ...] = ()) -> Entry:
    return make_entry(attempt, "failed", Outcome(failure, "it failed", audit=audit))  # type: ignore[arg-type]


def todo(why: str, number: int = 0, *, fitted: bool = False, job: Job = MUG) -> Plan:
    return Plan(todo=[Todo(Attempt(job, number), why, fitted)])  # type: ignore[arg-type]


def recorded(found: Plan) -> list[tuple[str, int, str | None]]:
    return [(entry.status, entry.attempt, entry.failure) for entry in found.unrecorded]


def test_jobs_without_an_entry_are_new(folder: BatchFolder) -> None:
    assert plan(folder) == todo("new")
    assert make_plan([MUG], BatchFolder(folder.path / "missing"), {}, Options()) == todo("new")


def test_a_job_that_is_done_is_skipped_and_its_settings_are_not_read(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(MUG))
    (folder.asset("mug") / "run.yaml").write_text("[")
    assert plan(folder, done(Attempt(MUG))) == Plan(skipped=[MUG])
    assert plan(folder, done(Attempt(MUG, 2))) == Plan(skipped=[MUG])


def test_a_finished_folder_that_was_moved_to_another_disk_and_linked_is_skipped(folder: BatchFolder, tmp_path: Path) -> None:
    finish(tmp_path / "elsewhere", Attempt(MUG))
    folder.asset("mug").symlink_to(tmp_path / "elsewhere")
    assert plan(folder, done(Attempt(MUG))) == Plan(skipped=[MUG])
    with pytest.raises(BadInput, match="is not a folder"):
        plan(folder, done(Attempt(MUG)), jobs=(OTHER,))


def test_what_a_kill_left_of_a_done_jobs_attempts_is_discarded(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(MUG))
    begin(folder.attempt("mug", 1), Attempt(MUG, 1))
    assert plan(folder, done(Attempt(MUG))) == Plan(skipped=[MUG], obsolete=["mug"])


def test_rows_that_are_gone_stay_untouched(folder: BatchFolder) -> None:
    finish(folder.asset("cup"), Attempt(make_job("cup")))
    begin(folder.attempt("pot", 0), Attempt(make_job("pot")))
    assert plan(folder, done(Attempt(make_job("cup"))), started(Attempt(make_job("pot")))) == todo("new")


@pytest.mark.parametrize("number", [0, 1])
def test_an_attempt_that_was_stopped_goes_on(folder: BatchFolder, number: int) -> None:
    entry = started(Attempt(MUG, number))
    assert plan(folder, entry) == todo("new", number)  # it was stopped before it had a folder
    run = begin(folder.attempt("mug", number), Attempt(MUG, number))
    assert plan(folder, entry) == todo("goes on", number)
    (run / "checkpoints" / "fine.safetensors").write_bytes(b"tensors")
    assert plan(folder, entry) == todo("goes on", number, fitted=True)


def test_a_finished_attempt_that_was_not_committed_needs_no_fit(folder: BatchFolder) -> None:
    finish(folder.attempt("mug", 1), Attempt(MUG, 1))
    assert plan(folder, started(Attempt(MUG, 1))) == todo("goes on", 1, fitted=True)
    assert plan(folder, done(Attempt(MUG, 1))) == todo("goes on", 1, fitted=True)  # a power cut lost the rename


@pytest.mark.parametrize("number", [0, 2])
def test_an_attempt_that_was_committed_and_not_recorded_is_done(folder: BatchFolder, number: int) -> None:
    finish(folder.asset("mug"), Attempt(MUG, number), warnings=["one"])
    for entries in ((started(Attempt(MUG, 2)),), ()):
        found = plan(folder, *entries, retries=2)
        assert (found.skipped, found.todo) == ([MUG], [])
        assert recorded(found) == [("done", number, None)]
    (entry,) = found.unrecorded
    assert (entry.seconds, entry.triangles, entry.audit, entry.warnings) == (3.75, 1234, PASSED, 1)


def test_a_batch_that_was_moved_to_another_device_is_not_redone(folder: BatchFolder) -> None:
    moved = dataclasses.replace(MUG, settings=MUG.settings.model_copy(update={"device": "cpu"}))
    finish(folder.asset("mug"), Attempt(MUG))
    assert plan(folder, started(Attempt(MUG)), jobs=(moved,)).skipped == [moved]


def test_a_finished_folder_with_a_broken_record_is_made_again(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(MUG))
    (folder.asset("mug") / "audit.json").write_text("{")
    assert plan(folder, started(Attempt(MUG))) == todo("new")


def test_a_job_whose_finished_folder_was_removed_is_made_again_by_the_same_attempt(folder: BatchFolder) -> None:
    assert plan(folder, done(Attempt(MUG, 1))) == todo("was removed", 1)
    finish(folder.asset("mug"), Attempt(MUG, 1))
    (folder.asset("mug") / "result.json").unlink()
    assert plan(folder, done(Attempt(MUG, 1))) == todo("was removed", 1)


def test_changed_jobs_are_made_again_and_named(folder: BatchFolder, caplog: pytest.LogCaptureFixture) -> None:
    jobs = tuple(make_job(name, steps=40) for name in "abcde")
    finish(folder.asset("a"), Attempt(make_job("a")))
    begin(folder.attempt("b", 0), Attempt(make_job("b")))
    old = [make_job(name) for name in "abcd"]
    entries = [done(Attempt(old[0])), started(Attempt(old[1])), failed(Attempt(old[2]), "empty"), failed(Attempt(old[3]), "error")]
    with caplog.at_level(logging.WARNING):
        found = plan(folder, *entries, jobs=jobs)
    assert [(entry.attempt.job.name, entry.why) for entry in found.todo] == [*((name, "changed") for name in "abcd"), ("e", "new")]
    assert found.obsolete == ["b"]
    assert [record.getMessage().partition(" changed")[0] for record in caplog.records] == ["a, b, c and 1 more have"]


def test_settings_that_are_changed_back_find_the_finished_folder(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(MUG))
    begin(folder.attempt("mug", 0), Attempt(OTHER))
    found = plan(folder, started(Attempt(OTHER)))
    assert (found.skipped, found.obsolete, found.todo) == ([MUG], ["mug"], [])
    assert recorded(found) == [("done", 0, None)]


@pytest.mark.parametrize("failure", ["bad input", "error", "time limit", "crashed"])
def test_failures_that_are_not_the_seeds_are_tried_again(folder: BatchFolder, failure: str) -> None:
    entry = failed(Attempt(MUG, 1), failure)
    assert plan(folder, entry) == todo("failed before", 1)
    begin(folder.attempt("mug", 1), Attempt(MUG, 1), fitted=True)
    assert plan(folder, entry) == todo("failed before", 1, fitted=True)


@pytest.mark.parametrize("failure", ["empty", "diverged", "audit"])
def test_failures_in_quality_get_another_seed_where_one_is_left(folder: BatchFolder, failure: str) -> None:
    entry = failed(Attempt(MUG, 1), failure)
    assert plan(folder, entry, retries=1, strict=True) == Plan(failed=[MUG])
    assert plan(folder, entry, retries=2, strict=True) == todo("another seed", 2)


def test_a_job_that_failed_its_audit_is_done_where_the_audit_is_no_matter(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(MUG), audit=POOR)
    entry = failed(Attempt(MUG, 1), "audit", POOR)
    assert plan(folder, entry, retries=1, strict=True) == Plan(failed=[MUG])
    found = plan(folder, entry, retries=1)
    assert found.skipped == [MUG]
    assert recorded(found) == [("done", 0, None)]
    assert found.unrecorded[0].audit == POOR


def test_a_job_that_is_done_fails_where_its_audit_matters(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(MUG), audit=POOR)
    entry = done(Attempt(MUG), POOR)
    assert plan(folder, entry) == Plan(skipped=[MUG])
    assert plan(folder, entry, retries=1, strict=True) == todo("another seed", 1)
    found = plan(folder, entry, strict=True)
    assert found.failed == [MUG]
    assert recorded(found) == [("failed", 0, "audit")]
    assert found.unrecorded[0].message == "audit: row 1: fail, row 2: not measured"


def test_an_unrecorded_finished_folder_that_fails_its_audit_is_no_work_begun_anew(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(MUG), audit=POOR)
    for entries in ((), (started(Attempt(MUG)),)):
        assert plan(folder, *entries, retries=1, strict=True) == todo("another seed", 1)
        assert recorded(plan(folder, *entries, strict=True)) == [("failed", 0, "audit")]
    begin(folder.attempt("mug", 1), Attempt(MUG, 1))
    assert plan(folder, started(Attempt(MUG, 1)), retries=1, strict=True) == todo("goes on", 1)


def test_attempts_that_the_manifest_lacks_go_on_where_they_have_the_settings(folder: BatchFolder) -> None:
    begin(folder.attempt("mug", 0), Attempt(MUG), fitted=True)
    begin(folder.attempt("mug", 1), Attempt(MUG, 1))
    assert plan(folder) == todo("goes on", 1)
    assert plan(folder, jobs=(OTHER,)).obsolete == ["mug"]
    (folder.attempt("mug", 1) / "run.yaml").unlink()
    assert plan(folder) == Plan(todo=[Todo(Attempt(MUG), "new")], obsolete=["mug"])


def test_half_done_jobs_come_first_else_the_order_stays(folder: BatchFolder) -> None:
    jobs = tuple(make_job(name) for name in "abcdef")
    begin(folder.attempt("c", 0), Attempt(jobs[2]))
    begin(folder.attempt("d", 0), Attempt(jobs[3]), fitted=True)
    begin(folder.attempt("e", 0), Attempt(jobs[4]))
    entries = [started(Attempt(job)) for job in jobs[2:5]]
    assert [entry.attempt.job.name for entry in plan(folder, *entries, jobs=jobs).todo] == list("dceabf")


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "empty", "foreign", "another run"])
def test_what_the_batch_did_not_make_is_never_replaced(folder: BatchFolder, tmp_path: Path, kind: str) -> None:
    path = folder.asset("mug")
    match kind:
        case "file":
            path.write_text("mine")
        case "link" | "dangling":
            if kind == "link":
                finish(tmp_path / "mine", Attempt(MUG))
            path.symlink_to(tmp_path / "mine")
        case "empty" | "foreign":
            path.mkdir()
            if kind == "foreign":
                (path / "notes.txt").write_text("mine")
        case "another run":
            finish(path, Attempt(OTHER))
    words = {"file": "is not a folder", "empty": "holds no run", "foreign": "holds no run", "another run": "this batch did not make"}
    with pytest.raises(BadInput, match=f"mug: .*{words.get(kind, 'is not a folder')}.*; move it away, or give the row another name$"):
        plan(folder)


def test_a_finished_folder_that_may_not_be_entered_is_not_said_to_hold_no_run(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(MUG)).chmod(0)
    try:
        with permissions_hold(), pytest.raises(BadInput, match="mug: may not be entered; change its permissions, or give the row another"):
            plan(folder, done(Attempt(MUG)))
    finally:
        folder.asset("mug").chmod(0o700)


def test_all_that_is_in_the_way_is_counted(folder: BatchFolder) -> None:
    for name in "abc":
        folder.asset(name).write_text("mine")
    with pytest.raises(BadInput, match=r"batch/a: is not a folder; .* \(and 2 more such folders\)"):
        plan(folder, jobs=tuple(make_job(name) for name in "abcd"))


@pytest.mark.parametrize(("there", "name"), [("Mug", "mug"), ("mug", "MUG"), ("straße", "STRASSE"), ("\u00e9", "\u00c9")])
def test_a_folder_whose_name_differs_in_case_alone_is_named(folder: BatchFolder, there: str, name: str) -> None:
    old = Attempt(make_job(there))
    finish(folder.asset(there), old)
    with pytest.raises(BadInput, match=rf"batch/{there}: differs from {name}, .*; give the row that name, or move it away"):
        plan(folder, done(old), jobs=(make_job(name),))


def test_find_attempt_tells_attempts_apart_and_takes_no_other_run(tmp_path: Path) -> None:
    begin(tmp_path / "run", Attempt(MUG, 3))
    assert find_attempt(tmp_path / "run", MUG, 3) == Attempt(MUG, 3)
    assert find_attempt(tmp_path / "run", MUG, 2) is None
    for other in (OTHER, make_job(prompt="a blue mug"), make_job(seed=8)):
        assert find_attempt(tmp_path / "run", other, 5) is None
    assert find_attempt(tmp_path / "missing", MUG, 3) is None


@pytest.mark.parametrize("name", ["result.json", "audit.json", "provenance.json"])
def test_a_broken_record_is_no_outcome(tmp_path: Path, name: str) -> None:
    run = finish(tmp_path / "run", Attempt(MUG))
    assert read_outcome(run, True) == Outcome(seconds=3.75, triangles=1234, audit=PASSED)
    for content in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"rows": [5], "seconds": [5], "warnings": 5}'):
        (run / name).write_bytes(content)
        assert read_outcome(run, True) is None
    (run / name).unlink()
    assert read_outcome(run, True) is None


def test_the_best_attempt_has_the_fewest_poor_rows_and_is_no_worse_than_what_is_there(folder: BatchFolder) -> None:
    assert best_attempt(folder, MUG, 2) is None
    for number, poor in enumerate([3, 1, 1]):
        finish(folder.attempt("mug", number), Attempt(MUG, number), audit=("fail",) * poor + PASSED[poor:])
    assert best_attempt(folder, MUG, 0) == Attempt(MUG, 0)
    assert best_attempt(folder, MUG, 2) == Attempt(MUG, 1)
    finish(folder.asset("mug"), Attempt(OTHER))  # the old folder of a row that has changed
    assert best_attempt(folder, MUG, 2) == Attempt(MUG, 1)
    (folder.asset("mug") / "run.yaml").write_bytes((folder.attempt("mug", 2) / "run.yaml").read_bytes())
    assert best_attempt(folder, MUG, 2) is None
