"""One process at a time in a folder; a lock goes with its process and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from privileges import file_size_limit, permissions_hold, umask

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run import lock
from dreamfusion_mesh.run.lock import Ended, InUse, locked
from dreamfusion_mesh.run.out import LOCK


def test_a_locked_folder_refuses_a_second_holder_and_names_the_first(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).read_text() == f"{os.getpid()}\n"
        with (
            pytest.raises(
                BadInput, match=f"run: is in use by process {os.getpid()}, another generate, export or batch; wait until it is done"
            ),
            locked(tmp_path / "run"),
        ):
            pass
        assert (tmp_path / "run" / LOCK).exists()
        with locked(tmp_path / "other"):
            pass


def test_a_released_folder_can_be_locked_again_and_nothing_is_left(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "deep" / "run"):
            pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "run"):
        raise KeyboardInterrupt
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"]  # it was there before
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "file").write_text("content")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("left", "before"),
    [
        ("4194304999\n", Ended("4194304999", "")),
        ("4194304999\nfine", Ended("4194304999", "fine")),
        ("", None),
        ("\0\0\0\0", None),  # as after a power cut
    ],
)
def test_the_file_of_a_killed_process_is_taken_over(left: str, before: Ended | None, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(left)  # what is left of a process that is gone
    with locked(tmp_path) as held:
        assert held.before == before
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path) as held:
        assert held.before is None


def test_another_programs_file_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("locked by the editor\n")
    with pytest.raises(BadInput, match=r"\.lock: is another program's; delete it, or name another folder"), locked(tmp_path):
        pass
    assert (tmp_path / LOCK).read_text() == "locked by the editor\n"


def test_the_stage_under_way_is_in_the_file_and_the_holder_is_still_named(tmp_path: Path) -> None:
    with locked(tmp_path) as held:
        for stage in ("conversion", "fine"):
            held.note_stage(stage)
            assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n{stage}"
        with pytest.raises(BadInput, match=f"in use by process {os.getpid()}, another"), locked(tmp_path):
            pass


def test_a_stage_that_cannot_be_noted_stops_no_work(tmp_path: Path) -> None:
    with locked(tmp_path) as held:
        descriptor, held.descriptor = held.descriptor, os.open(os.devnull, os.O_RDONLY)
        held.note_stage("fine")
        os.close(held.descriptor)
        held.descriptor = descriptor
    assert list(tmp_path.iterdir()) == []


def test_a_file_removed_between_opening_and_locking_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    try_lock = lock._try_lock

    def released_just_then(descriptor: int) -> bool:
        if not tried:
            (tmp_path / LOCK).unlink()
        tried.append(descriptor)
        return try_lock(descriptor)

    monkeypatch.setattr(lock, "_try_lock", released_just_then)
    with locked(tmp_path):
        assert len(tried) == 2
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


HOLDER = """
import sys
from pathlib import Path

from dreamfusion_mesh.run.lock import locked

with locked(Path(sys.argv[1])) as held:
    held.note_stage("fine")
    print("there", flush=True)
    sys.stdin.read()
"""


def test_a_holder_that_is_about_to_die_is_waited_for_as_long_as_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that the pauses move on; the holder is killed in the third of them."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == kill_at:
                holder.kill()
                holder.wait()

        monkeypatch.setattr(lock.time, "monotonic", lambda: sum(pauses))
        monkeypatch.setattr(lock.time, "sleep", pause)
        kill_at = 0
        for patience, tries in ((0.0, 0), (1.0, 50)):
            pauses.clear()
            with pytest.raises(InUse, match=f"in use by process {holder.pid}, another"), locked(tmp_path, patience):
                pass
            assert len(pauses) == pytest.approx(tries, abs=1)
        pauses.clear()
        kill_at = 3
        with locked(tmp_path, 1.0) as held:
            assert held.before == Ended(str(holder.pid), "fine")
        assert len(pauses) == 3


def test_other_faults_of_a_folder_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: pytest.fail("waits"))
    (tmp_path / LOCK).write_text("locked by the editor\n")
    with pytest.raises(BadInput, match="is another program's"), locked(tmp_path, 60.0):
        pass


def test_a_holder_that_has_not_yet_written_its_id_is_refused_too(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / LOCK).write_text("")
        with pytest.raises(BadInput, match="in use by a process that has just started"), locked(tmp_path):
            pass


@pytest.mark.parametrize("taken", ["run", "run/below", "x" * 300])
def test_a_path_that_cannot_be_a_folder_is_named(taken: str, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("content")
    with pytest.raises(BadInput, match=r"is a file|cannot be written"), locked(tmp_path / taken):
        pass
    assert (tmp_path / "run").read_text() == "content"


def test_windows_locks_a_byte_behind_the_process_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stand-in for msvcrt, whose locks are of a range of bytes at the file's position."""
    fcntl = pytest.importorskip("fcntl")
    held: list[int] = []
    stand_in = ModuleType("msvcrt")
    stand_in.LK_NBLCK = 2  # type: ignore[attr-defined]

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count, os.lseek(descriptor, 0, os.SEEK_CUR)) == (2, 1, 1 << 30)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None
        held.append(descriptor)

    stand_in.locking = locking  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "msvcrt", stand_in)
    monkeypatch.setattr(lock.sys, "platform", "win32")
    with locked(tmp_path):
        with pytest.raises(BadInput, match=f"in use by process {os.getpid()}"), locked(tmp_path):
            pass
        assert len(held) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_never_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems, such as /proc, answer every new folder with "no such file"."""

    def never(self: Path, *arguments: object, **named: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "mkdir", never)
    with pytest.raises(BadInput, match="cannot be written"), locked(tmp_path / "new"):
        pass


@pytest.mark.parametrize("mask", [0o077, 0o002])
def test_the_lock_has_the_permissions_that_the_umask_leaves(mask: int, tmp_path: Path) -> None:
    with umask(mask), locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).stat().st_mode & 0o777 == 0o666 & ~mask
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o777 & ~mask


def test_what_a_link_in_the_locks_place_names_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to("../thesis.txt")
    with pytest.raises(BadInput, match=r"\.lock: is not the file that a run leaves there; delete it"), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    (tmp_path / "run" / LOCK).unlink()
    os.mkfifo(tmp_path / "run" / LOCK)
    with pytest.raises(BadInput, match="delete it"), locked(tmp_path / "run"):
        pass


def test_a_folder_that_may_not_be_entered_or_written_is_named(tmp_path: Path) -> None:
    for name, mode in (("closed", 0o600), ("kept", 0o500)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    with permissions_hold():
        for name, cause in (("closed/run", f"enter the folder {tmp_path}/closed"), ("kept", f"write in the folder {tmp_path}/kept")):
            with pytest.raises(BadInput, match=f"you may not {cause}"), locked(tmp_path / name):
                pass


def test_a_lock_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with file_size_limit(0), pytest.raises(BadInput, match="raise that limit"), locked(tmp_path / "deep" / "run"):
        pass
    assert not list(tmp_path.iterdir())
