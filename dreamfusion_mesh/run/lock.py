"""One process at a time in a run's folder, by a lock that the operating system holds and drops when its process dies.

The lock is on the file `.lock` (flock; on Windows a byte range of msvcrt), which holds the process id and the stage under way, and is
removed with the lock. A killed process leaves the file behind without its lock; the next one takes it over, and learns from it where that
one ended. Folders on network disks need a file system whose locks reach every machine.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import NEW_FILE, NO_WAITING, cannot_write, check_folder, kind_of, shown
from dreamfusion_mesh.run.out import LOCK

_ATTEMPTS = 100  # to meet the folder and the file between two processes that remove them
_PAUSE = 0.02  # seconds between two tries at a folder that is in use
_LOCKED_BYTE = 1 << 30  # on Windows a locked byte cannot be read by others: one far behind the process id
_LONGEST = 64  # bytes of a lock's file


class InUse(BadInput):
    """Another process holds the folder."""


@dataclass(frozen=True)
class Ended:
    """The process that held the folder before and was killed; `stage` is empty where it had not begun one."""

    process: str
    stage: str


@dataclass
class Lock:
    """A folder that this process holds, and the stage that the file names. `before` is who held it last, where that one was killed."""

    before: Ended | None
    descriptor: int
    stage: str = ""

    def note_stage(self, stage: str) -> None:
        """Record the stage under way, for whoever finds the file should this process be killed. A full disk stops no work."""
        self.stage = stage
        with suppress(OSError):
            _write(self.descriptor, stage)


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[Lock]:
    """Hold `folder` for this process, making it where it is missing; folders that stay empty are removed again.

    patience  seconds to wait for its holder: one that is killed with its parent is gone some milliseconds after that
    Raises InUse naming the process that holds it, BadInput where the folder cannot be written.
    """
    check_folder(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        descriptor, before = _wait_for(folder, patience)
    except OSError as error:
        _remove_empty(made)
        raise cannot_write(folder / LOCK, error) from error
    try:
        lock = Lock(before, descriptor)
        _name_holder(folder / LOCK, descriptor)
        yield lock
    finally:
        _release(folder / LOCK, descriptor)
        _remove_empty(made)


def forget_holder(folder: Path) -> None:
    """Remove what a process that was ended on purpose has left in `folder`, so that the next one does not warn of it.

    Where another process holds the folder, or the disk does not take it, nothing is done.
    """
    if os.path.lexists(folder / LOCK):
        with suppress(BadInput), locked(folder):
            pass


def _wait_for(folder: Path, patience: float) -> tuple[int, Ended | None]:
    """`_acquire`, again and again for `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            return _acquire(folder)
        except InUse:
            if time.monotonic() >= until:
                raise
        time.sleep(_PAUSE)


def _acquire(folder: Path) -> tuple[int, Ended | None]:
    """A descriptor that holds the lock on the file that is in the folder now, and who was killed while holding it."""
    for attempt in range(_ATTEMPTS):
        try:
            held = _open_locked(folder)
        except FileNotFoundError:  # the process before us removed the folder meanwhile, or it can never be made, as below /proc
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        if held is not None:
            return held
    raise _in_use(folder, b"")


def _open_locked(folder: Path) -> tuple[int, Ended | None] | None:
    """A descriptor that holds the lock; None where the file was removed, or made anew, between opening and locking it."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.path.islink(folder / LOCK) or kind_of(folder / LOCK) not in ("", "file"):
        raise BadInput(f"{shown(folder / LOCK)}: is not the file that a run leaves there; delete it")
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | NO_WAITING, NEW_FILE)
    try:
        if not _try_lock(descriptor):
            raise _in_use(folder, os.read(descriptor, _LONGEST))
        if _is_file_at(folder / LOCK, descriptor):
            left = os.read(descriptor, _LONGEST)
            if left.strip(b"\0") and _ended(left) is None:  # NUL is what a power cut may leave of a file
                raise BadInput(f"{shown(folder / LOCK)}: is another program's; delete it, or name another folder")
            return descriptor, _ended(left)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _name_holder(path: Path, descriptor: int) -> None:
    try:
        _write(descriptor)
    except OSError as error:
        raise cannot_write(path, error) from error


def _write(descriptor: int, stage: str = "") -> None:
    content = f"{os.getpid()}\n{stage}".encode()
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, content)
    os.ftruncate(descriptor, len(content))  # after writing, so that the file is never empty


def _ended(left: bytes) -> Ended | None:
    """Who left these bytes; None where they are not a lock's."""
    process, _, stage = left.decode("ascii", "replace").partition("\n")
    return Ended(process, stage.strip()) if process.isdecimal() else None


def _in_use(folder: Path, holder: bytes) -> InUse:
    holding = _ended(holder)
    process = f"process {holding.process}" if holding else "a process that has just started"
    by = f"is in use by {process}, another generate, export or batch"
    return InUse(f"{shown(folder)}: {by}; wait until it is done, or name another folder")


def _is_file_at(path: Path, descriptor: int) -> bool:
    """Whether `path` still is the file that was opened, and not one that was made after that was removed."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _release(path: Path, descriptor: int) -> None:
    if sys.platform == "win32":  # an open file cannot be removed there
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()
    else:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
