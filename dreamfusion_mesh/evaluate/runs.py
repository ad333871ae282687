"""The runs of an evaluation, from folders of runs and of batches, which are not trusted.

A batch is a group; so is a folder in which runs lie side by side; runs that are named one by one are grouped by the folder around them.
A row that failed is a run without an asset. A row whose asset was made and failed its audit, as `--strict` has it, has its asset, and is
judged as any other; the audit's rows say what is wrong with it.
"""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from pathlib import Path

from dreamfusion_mesh.batch.finished import is_finished
from dreamfusion_mesh.batch.folder import BatchFolder, entries
from dreamfusion_mesh.batch.standing import Standing, standings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.finished_run import read_run
from dreamfusion_mesh.evaluate.records import Group, Run
from dreamfusion_mesh.files import is_file, kind_of, shown
from dreamfusion_mesh.run.out import generate_command
from dreamfusion_mesh.run.settings import SETTINGS

_NAME_ONE = "name a folder that `generate` or `batch` wrote"


def read_groups(paths: Sequence[Path], rows: Container[str] | None = None) -> list[Group]:
    """The groups that the folders hold, in the order in which they are given, each with a name of its own.

    rows  names of those that are read of batches; None: all

    Raises BadInput in one line where a folder is missing, is neither of a run nor of a batch, or is given twice; where a run is not
    finished, or its asset is gone or is not the one that it wrote; and where nothing of a group is done.
    """
    homes = [_home(path) for path in paths]
    folders = list(dict.fromkeys(homes))
    names = dict(zip(folders, _names_apart(folders), strict=True))
    reader = _Reader(rows)
    for path, home in zip(paths, homes, strict=True):
        reader.read(path, names[home])
    return [reader.group(name) for name in names.values()]


def _home(path: Path) -> Path:
    """The real folder whose name a group has: of a batch its own, of a run that which it lies in."""
    if (kind := kind_of(path)) != "folder":
        raise BadInput(f"{shown(path)}: is {f'a {kind}, not a folder' if kind else 'missing'}; {_NAME_ONE}")
    real = Path(os.path.realpath(path))
    return real.parent if _is_run(path) else real


def _is_run(path: Path) -> bool:
    return os.path.lexists(path / SETTINGS) or is_finished(path)


def _names_apart(folders: Sequence[Path]) -> list[str]:
    """For each folder the end of its path that no other one has: its name, where others are called otherwise."""
    longest = max(len(folder.parts) for folder in folders)
    names = [_end(folder, 1) for folder in folders]
    for parts in range(2, longest + 1):
        names = [_end(folder, parts) if names.count(name) > 1 else name for name, folder in zip(names, folders, strict=True)]
    return names


def _end(folder: Path, parts: int) -> str:
    return shown("/".join(part.strip("/\\") for part in folder.parts[-parts:]) or "/")


class _Reader:
    """Collects the runs of each group, none of them twice."""

    def __init__(self, rows: Container[str] | None) -> None:
        self._rows = rows
        self._runs: dict[str, list[Run]] = {}
        self._unfinished: dict[str, list[str]] = {}
        self._seen: dict[tuple[int, int], Path] = {}  # what each folder was given by, by the numbers that the disk knows it by

    def read(self, path: Path, group: str) -> None:
        """Take in what a folder holds."""
        runs, unfinished = self._runs.setdefault(group, []), self._unfinished.setdefault(group, [])
        own = [path]
        if _is_run(path):
            if not is_finished(path):
                raise BadInput(f"{shown(path)}: its run is not finished; `{generate_command(path)}` goes on with it")
            runs.append(read_run(path, group))
        else:
            unfinished += _left(path)
            for job in standings(BatchFolder(path))[1]:
                if self._rows is not None and job.name not in self._rows:
                    continue
                own += [] if job.folder is None else [job.folder]
                if job.status == "unfinished":
                    unfinished.append(job.name)
                else:
                    runs.append(_run_of(job, BatchFolder(path), group))
        self._refuse_seen(own, path)

    def group(self, name: str) -> Group:
        """What was found of it. Raises BadInput where nothing of it is done."""
        if not self._runs[name]:
            raise BadInput(f"{shown(name)}: none of its {len(self._unfinished[name])} runs is done; evaluate it later")
        return Group(name, tuple(self._runs[name]), tuple(self._unfinished[name]))

    def _refuse_seen(self, folders: Sequence[Path], given: Path) -> None:
        """Raises BadInput where one of the folders that are evaluated by `given` was so before."""
        for folder in folders:
            found = os.stat(folder)
            if (other := self._seen.get((found.st_dev, found.st_ino))) is not None:
                raise BadInput(f"{shown(folder)}: is given twice, by {shown(other)} and by {shown(given)}; name it once")
        for folder in folders:
            found = os.stat(folder)
            self._seen[found.st_dev, found.st_ino] = given


def _left(path: Path) -> list[str]:
    """Names of runs that lie side by side and are not finished; a batch's folder has none. Raises BadInput where there is no run at all."""
    if is_file(BatchFolder(path).manifest):
        return []
    there = [entry.name for entry in entries(path)]
    if not there:
        raise BadInput(f"{shown(path)}: is empty; {_NAME_ONE}")
    runs = sorted(name for name in there if not name.startswith(".") and _is_run(path / name))
    if not runs:
        raise BadInput(f"{shown(path)}: holds neither a run nor a batch; {_NAME_ONE}")
    return [name for name in runs if not is_finished(path / name)]


def _run_of(job: Standing, batch: BatchFolder, group: str) -> Run:
    """A row that is done or has failed. Raises BadInput where its asset is gone, or is not the one that was written."""
    if job.status == "missing":
        raise BadInput(f"{shown(batch.asset(job.name))}: was made and is gone; the `batch` command that made it makes it again")
    if job.asset:
        return read_run(batch.asset(job.name), group)
    seconds = {} if job.seconds is None else {"all": job.seconds}
    failure, seed = job.failure or "error", job.seed or 0
    return Run(group, job.name, job.prompt, seed, job.folder, failure, job.message, seconds=seconds)
