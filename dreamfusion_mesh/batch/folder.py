"""A batch's folder: the manifest, a run folder for each finished job, and in .work the attempts under way.

manifest.jsonl            what became of each job (manifest.py)
NAME/                     a finished job: the run folder of the attempt that made it
.work/NAME, NAME+1, ...   run folders of its attempts; one that failed stays, with run.yaml and traceback.txt
.work/NAME+replaced       the finished folder of a job whose settings changed, while the new one takes its place; NAME+removed: after that
.work/worker-N.log, .work/encodings/   of the processes that do the work; no job has such a name, or one with a "+"

A job is done when its attempt's folder is renamed to NAME/: whenever a process is killed, the old folder or the new one is there, whole.
What the user has put into the old one, such as notes, moves to the new one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dreamfusion_mesh.batch.records import Attempt
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import PARTS, cannot_read, cannot_write, kind_of, read_bytes, remove_file, shown, sync_folder
from dreamfusion_mesh.run.out import BROKEN, CHECKPOINT_FOLDER, LOCK, MANIFEST, RESULT_FILE, STAGED, TRACEBACK, WORK, WORKER_LOG, check_out

_REPLACED, _REMOVED = "+replaced", "+removed"
_OWN = {MANIFEST, WORK}  # of which one is in every batch's folder
_LEFT_ALONE = {LOCK, BROKEN}  # what may be there without them
_OF_RUNS = {RESULT_FILE, CHECKPOINT_FOLDER, STAGED, LOCK, TRACEBACK}  # beside the files that result.json lists
_LARGEST_RESULT = 1 << 24  # bytes
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class BatchFolder:
    """The folder at `path`, which need not exist before the first write. All that writes needs its lock (run/lock.py)."""

    path: Path

    @property
    def manifest(self) -> Path:
        """The file of the manifest."""
        return self.path / MANIFEST

    @property
    def work(self) -> Path:
        """The folder of what is under way."""
        return self.path / WORK

    @property
    def encodings(self) -> Path:
        """The folder of text encodings."""
        return self.work / "encodings"

    def log(self, worker: int) -> Path:
        """The file for what a worker's processes print."""
        return self.work / WORKER_LOG.format(worker)

    def asset(self, name: str) -> Path:
        """The run folder of a finished job."""
        return self.path / name

    def attempt(self, name: str, number: int) -> Path:
        """The run folder of an attempt under way, or of one that failed."""
        return self.work / attempt_name(name, number)

    def check(self) -> None:
        """Raises BadInput where no batch can be written: it is neither new nor empty nor a batch's, or bars writing. Writes nothing."""
        check_out(self.path)
        if os.path.islink(self.work) or kind_of(self.work) not in ("", "folder"):
            raise BadInput(f"{shown(self.work)}: is not the folder that a batch leaves there; delete it")
        for entry in entries(self.work):
            if entry.is_symlink():  # what follows it writes outside
                raise BadInput(f"{shown(Path(entry.path))}: is a link, and a batch leaves none there; delete it")
        there = {entry.name for entry in entries(self.path)}
        foreign = sorted(name for name in there - _LEFT_ALONE if not Path(name).match(PARTS))
        if foreign and not there & _OWN:
            names = ", ".join(shown(name) for name in foreign[:_SHOWN]) + (" and more" if len(foreign) > _SHOWN else "")
            raise BadInput(f"--out {shown(self.path)}: holds something else ({names}), and no batch; name a new or empty folder")

    def recover(self) -> None:
        """Bring to an end what a killed process was at: the exchange of a finished folder, and files under way. Raises BadInput."""
        for part in self.path.glob(PARTS):
            remove_file(part)
        for entry in list(entries(self.work)):
            if entry.name.endswith(_REPLACED):
                self._end_exchange(entry.name.removesuffix(_REPLACED))
            elif entry.name.endswith(_REMOVED):
                _remove_tree(Path(entry.path))

    def commit(self, attempt: Attempt) -> None:
        """Make an attempt that has its result.json the job's finished folder, in the place of one from before, and drop its other attempts.

        Before one from before is removed, the disk holds the new one. Else it need not: the manifest is flushed next, and should the
        power fail with the rename lost, the plan finds the finished attempt where it was.
        Raises BadInput, whose cause is an OSError, where the disk does not take that; the finished folder is then the old or the new one.
        """
        name = attempt.job.name
        source, target, aside = self.attempt(name, attempt.number), self.asset(name), self.work / f"{name}{_REPLACED}"
        if not os.path.isfile(source / RESULT_FILE):
            raise BadInput(f"{shown(source)}: is not finished ({RESULT_FILE} is missing)")
        for left in (TRACEBACK, LOCK):  # of an attempt that failed before, and of a process that was killed when all was done
            remove_file(source / left)
        if not os.path.lexists(target):
            with _writing(target):
                os.rename(source, target)
        else:
            sync_folder(source)
            with _writing(target):
                os.rename(target, aside)
                try:
                    os.rename(source, target)
                except OSError:
                    os.rename(aside, target)
                    raise
            self._end_exchange(name)
        self._remove_attempts(name, attempt.number)

    def discard(self, name: str) -> None:
        """Remove the folders of a job's attempts, of which none is wanted; its finished folder stays. Raises as `commit` does."""
        self._remove_attempts(name, 0)

    def attempts(self) -> dict[str, list[int]]:
        """The numbers of the attempts that have a folder, rising, by the job's name. Raises BadInput where that cannot be read."""
        found: dict[str, list[int]] = {}
        for entry in entries(self.work):
            name, _, number = entry.name.partition("+")
            attempt = int(number) if number.isdecimal() else 0
            if name and entry.name == attempt_name(name, attempt):
                found.setdefault(name, []).append(attempt)
        return {name: sorted(numbers) for name, numbers in found.items()}

    def _end_exchange(self, name: str) -> None:
        """Put a finished folder that was moved aside back where no new one has its place, else remove it but for the user's own files."""
        target, aside, removed = self.asset(name), self.work / f"{name}{_REPLACED}", self.work / f"{name}{_REMOVED}"
        with _writing(target):
            if not os.path.lexists(target):
                os.rename(aside, target)
        sync_folder(self.path)
        if not os.path.lexists(aside):
            return
        with _writing(target):
            for own in _own_files(aside, target):
                os.rename(aside / own, target / own)
            os.rename(aside, removed)
        _remove_tree(removed)

    def _remove_attempts(self, name: str, number: int) -> None:
        """Remove the attempts up to `number` and all after it, the last one first: whatever is left has no gap."""
        last = number
        while os.path.lexists(self.attempt(name, last + 1)):
            last += 1
        for left in range(last, -1, -1):
            if os.path.lexists(self.attempt(name, left)):
                _remove_tree(self.attempt(name, left))


def attempt_name(name: str, number: int) -> str:
    """The name of an attempt's folder."""
    return f"{name}+{number}" if number else name


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from found
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_read(folder, error) from error


def _own_files(old: Path, new: Path) -> list[str]:
    """Names in a finished folder that no run gave, and that are free in the one that replaces it."""
    runs = _OF_RUNS | _listed_files(old) | _listed_files(new)
    own = [entry.name for entry in entries(old) if entry.name not in runs and not Path(entry.name).match(PARTS)]
    return [name for name in own if not os.path.lexists(new / name)]


def _listed_files(run: Path) -> set[str]:
    """The files that a run's result.json lists; none where it cannot be read."""
    try:
        return set(json.loads(read_bytes(run / RESULT_FILE, _LARGEST_RESULT))["files"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return set()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def _remove_tree(folder: Path) -> None:
    with _writing(folder):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink()
