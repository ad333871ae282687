"""A batch's folder: what may be one, and the rename that makes a job done, killed at any call that changes the disk."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from batch_folders import begin, contents, done, finish, make_job, started
from privileges import permissions_hold

from dreamfusion_mesh.batch.finished import is_finished
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import Manifest, read_manifest
from dreamfusion_mesh.batch.plan import make_plan
from dreamfusion_mesh.batch.records import Attempt, Job, Options
from dreamfusion_mesh.errors import BadInput

RETRIES = Options(retries=2)


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(number: int) -> Iterator[list[str]]:
    """End at the `number`-th call that changes the disk or waits for it, before it is made; gives the names of the calls so far."""
    made: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def ending(*given: Any, **named: Any) -> Any:
            if len(made) == number:
                raise Killed
            made.append(name)
            return call(*given, **named)

        return ending

    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "replace", "fsync", "unlink", "rmdir", "write", "truncate", "mkdir"):
            patch.setattr(os, name, counted(name, getattr(os, name)))
        patch.setattr(shutil, "rmtree", counted("rmtree", shutil.rmtree))
        yield made


def is_killed(number: int, run: Callable[[], None]) -> bool:
    """Whether `run` makes a call of this number, at which it is ended."""
    with killed_at(number):
        try:
            run()
        except Killed:
            return True
    return False


def batch(path: Path, jobs: list[Job], made: list[str]) -> None:
    """All of `jobs` as a batch does them, one after the other; `made` gets the key of each attempt that was worked on."""
    folder, manifest = BatchFolder(path), Manifest(path / "manifest.jsonl")
    folder.check()
    folder.recover()
    plan = make_plan(jobs, folder, manifest.recover(), RETRIES)
    for name in plan.obsolete:
        folder.discard(name)
    manifest.append(plan.unrecorded)
    for todo in plan.todo:
        attempt = todo.attempt
        run = folder.attempt(attempt.job.name, attempt.number)
        manifest.append([started(attempt)])
        if not is_finished(run):
            assert not todo.fitted
            finish(run, attempt)
            made.append(f"{attempt.job.name} {attempt.job.key}")
        folder.commit(attempt)
        manifest.append([done(attempt)])


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return BatchFolder(tmp_path / "batch")


def test_a_batch_that_is_killed_at_any_call_makes_each_asset_once(tmp_path: Path, no_fsync: None) -> None:
    jobs = [make_job("mug"), make_job("cup", seed=8), make_job("pot", seed=9)]
    changed = [make_job("mug", steps=40), *jobs[1:], make_job("jar", seed=10)]
    batch(tmp_path / "old", jobs, [])
    batch(tmp_path / "new", changed, [])
    begin(BatchFolder(tmp_path / "old").attempt("mug", 0), Attempt(jobs[0]))  # of the old settings, to be discarded
    old, new = ({job.name: contents(tmp_path / which / job.name) for job in changed} for which in ("old", "new"))
    (tmp_path / "old" / "mug" / "notes.txt").write_text("mine")
    for number in itertools.count():
        path, made = tmp_path / str(number), list[str]()
        shutil.copytree(tmp_path / "old", path)
        killed = is_killed(number, lambda path=path, made=made: batch(path, changed, made))
        for name in ("mug", "cup", "pot"):
            whole = contents(path / name) or contents(path / ".work" / f"{name}+replaced")
            whole.pop("notes.txt", None)
            assert whole in (old[name], new[name])
        batch(path, changed, made)
        assert (path / "mug" / "notes.txt").read_text() == "mine"
        (path / "mug" / "notes.txt").unlink()
        assert {job.name: contents(path / job.name) for job in changed} == new
        assert sorted(made) == sorted(f"{job.name} {job.key}" for job in (changed[0], changed[3]))
        assert {entry.status for entry in read_manifest(path / "manifest.jsonl").values()} == {"done"}
        assert not contents(path / ".work")
        if not killed:
            break
    assert number > 25


def test_recovery_that_is_killed_at_any_call_goes_on(folder: BatchFolder, tmp_path: Path, no_fsync: None) -> None:
    job, second = make_job(), Attempt(make_job(steps=40), 1)
    finish(folder.asset("mug"), Attempt(job))
    begin(folder.attempt("mug", 0), Attempt(second.job))
    finish(folder.attempt("mug", 1), second)
    begin(folder.attempt("mug", 2), Attempt(second.job, 2))
    notes = {"notes.txt": b"mine"}
    (folder.asset("mug") / "notes.txt").write_bytes(b"mine")
    old, new = contents(folder.asset("mug")), contents(folder.attempt("mug", 1))
    kills, first, again = set(), 0, 0
    while True:
        tried = BatchFolder(tmp_path / "tried")
        shutil.copytree(folder.path, tried.path)
        committing = is_killed(first, lambda tried=tried: tried.commit(second))
        recovering = is_killed(again, tried.recover)
        tried.recover()
        assert contents(tried.asset("mug")) in (old, new | notes)
        if contents(tried.asset("mug")) == old:
            tried.commit(second)
        assert contents(tried.asset("mug")) == new | notes
        shutil.rmtree(tried.path)
        if recovering:
            kills.add(first)
        elif not committing:
            break
        first, again = (first, again + 1) if recovering else (first + 1, 0)
    assert len(kills) > 3


def test_commit_takes_the_traceback_a_killed_process_s_lock_and_the_other_attempts_away(folder: BatchFolder) -> None:
    second = Attempt(make_job(), 1)
    for number in (0, 2, 3):
        begin(folder.attempt("mug", number), Attempt(second.job, number))
    begin(folder.attempt("mug-2", 0), Attempt(make_job("mug-2")))
    finish(folder.attempt("mug", 1), second)
    for name in ("traceback.txt", ".lock"):
        (folder.attempt("mug", 1) / name).write_text("1")
    folder.commit(second)
    assert (folder.asset("mug") / "asset.glb").read_text().endswith(str(second.seed))
    assert not {"traceback.txt", ".lock"} & {entry.name for entry in folder.asset("mug").iterdir()}
    assert folder.attempts() == {"mug-2": [0]}


def test_an_attempt_without_a_result_is_not_committed(folder: BatchFolder) -> None:
    begin(folder.attempt("mug", 0), Attempt(make_job()), fitted=True)
    with pytest.raises(BadInput, match="is not finished"):
        folder.commit(Attempt(make_job()))
    assert not folder.asset("mug").exists()


def test_before_an_old_folder_is_removed_the_disk_holds_the_new_one(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(make_job()))
    finish(folder.attempt("mug", 0), Attempt(make_job(steps=40)))
    with killed_at(1000) as calls:
        folder.commit(Attempt(make_job(steps=40)))
    assert calls[:8] == ["unlink", "unlink", "fsync", "rename", "rename", "fsync", "rename", "rmtree"]


def test_what_the_user_put_into_an_old_folder_moves_to_the_new_one(folder: BatchFolder) -> None:
    old, new = Attempt(make_job()), Attempt(make_job(steps=40))
    run = finish(folder.asset("mug"), old)
    (run / "blender").mkdir()
    (run / "blender" / "scene.blend").write_text("mine")
    (run / "notes.txt").write_text("mine")
    for name in (".lock", ".staged", "traceback.txt", ".run.yaml.01234567.part"):
        (run / name).write_text("of the old run")
    wanted = contents(finish(folder.attempt("mug", 0), new))
    folder.commit(new)
    assert contents(folder.asset("mug")) == wanted | {"blender/scene.blend": b"mine", "notes.txt": b"mine"}


def test_a_rename_that_fails_leaves_the_old_folder(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, old = os.rename, contents(finish(folder.asset("mug"), Attempt(make_job())))
    new = finish(folder.attempt("mug", 0), Attempt(make_job(steps=40)))

    def failing(source: Path, target: Path) -> None:
        if source == new:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(BadInput, match="free some space"):
        folder.commit(Attempt(make_job(steps=40)))
    assert contents(folder.asset("mug")) == old
    assert is_finished(new)


def test_discard_removes_attempts_alone(folder: BatchFolder) -> None:
    finish(folder.asset("mug"), Attempt(make_job()))
    for name in ("mug", "mug-2", "Mug"):
        for number in (0, 1, 2):
            begin(folder.attempt(name, number), Attempt(make_job(name), number))
    before = contents(folder.asset("mug"))
    folder.discard("mug")
    folder.discard("unknown")
    assert contents(folder.asset("mug")) == before
    assert folder.attempts() == {"mug-2": [0, 1, 2], "Mug": [0, 1, 2]}


def test_a_link_in_the_place_of_an_attempt_is_removed_and_what_it_names_stays(folder: BatchFolder, tmp_path: Path) -> None:
    begin(tmp_path / "mine", Attempt(make_job()))
    folder.work.mkdir(parents=True)
    folder.attempt("mug", 0).symlink_to(tmp_path / "mine")
    before = contents(tmp_path / "mine")
    folder.discard("mug")
    assert not os.path.lexists(folder.attempt("mug", 0))
    assert contents(tmp_path / "mine") == before


def test_new_and_empty_folders_and_what_a_killed_call_leaves_can_take_a_batch(folder: BatchFolder) -> None:
    folder.check()
    assert not folder.path.exists()
    folder.path.mkdir()
    for name in (".lock", ".manifest.jsonl.0123abcd.part"):
        folder.check()
        (folder.path / name).write_text("1\n")
    folder.check()
    (folder.path / "manifest.jsonl").write_text("")
    (folder.path / "notes.txt").write_text("mine")
    folder.check()
    (folder.path / "manifest.jsonl").unlink()
    folder.work.mkdir()
    folder.check()
    folder.recover()
    assert sorted(file.name for file in folder.path.iterdir()) == [".lock", ".work", "notes.txt"]


@pytest.mark.parametrize("name", ["notes.txt", "run.yaml", "mug/result.json", "summary.csv", ".hidden", "work"])
def test_a_folder_with_something_else_is_refused_and_left_as_it_is(folder: BatchFolder, name: str) -> None:
    (folder.path / name).parent.mkdir(parents=True)
    (folder.path / name).write_text("mine")
    with pytest.raises(BadInput, match=f"--out .*batch: holds something else \\({name.partition('/')[0]}\\)"):
        folder.check()
    assert contents(folder.path) == {name: b"mine"}


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_something_else_in_the_place_of_dot_work_is_refused(folder: BatchFolder, tmp_path: Path, kind: str) -> None:
    folder.path.mkdir()
    (folder.path / "manifest.jsonl").write_text("")
    if kind == "file":
        folder.work.write_text("mine")
    else:
        folder.work.symlink_to(tmp_path if kind == "link" else tmp_path / "missing")
    with pytest.raises(BadInput, match=r"\.work: is not the folder that a batch leaves there; delete it"):
        folder.check()


@pytest.mark.parametrize("name", ["mug", "mug+1", "encodings", "worker-0.log"])
def test_a_link_in_dot_work_is_refused_since_what_follows_it_writes_outside(folder: BatchFolder, tmp_path: Path, name: str) -> None:
    folder.work.mkdir(parents=True)
    (folder.work / name).symlink_to(tmp_path)
    with pytest.raises(BadInput, match=rf"{re.escape(name)}: is a link, and a batch leaves none there; delete it$"):
        folder.check()


def test_a_file_in_the_folders_place_is_refused(folder: BatchFolder) -> None:
    folder.path.write_text("mine")
    with pytest.raises(BadInput, match="is a file; name a folder"):
        folder.check()


def test_names_that_are_no_attempts_are_not_taken_for_them(folder: BatchFolder) -> None:
    for name in ("mug", "mug+1", "mug+10", "mug+01", "mug+0", "mug+x", "mug+replaced", "mug+1+1", "cup+²", "+", "+1"):
        (folder.work / name).mkdir(parents=True)
    assert folder.attempts() == {"mug": [0, 1, 10]}
    assert BatchFolder(folder.path / "new").attempts() == {}


def test_what_cannot_be_renamed_is_an_error_with_its_cause(folder: BatchFolder) -> None:
    finish(folder.attempt("mug", 0), Attempt(make_job()))
    folder.path.chmod(0o500)
    try:
        with permissions_hold(), pytest.raises(BadInput, match="mug: cannot be written") as raised:
            folder.commit(Attempt(make_job()))
    finally:
        folder.path.chmod(0o700)
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.EACCES
    folder.commit(Attempt(make_job()))
    assert is_finished(folder.asset("mug"))
