"""summary.csv and contact.png: what became of every job, from the manifest and the jobs' folders, at any time.

Jobs are in the order of their names, in which mug-2 comes before mug-10. Folders of finished runs that the manifest does not name are
there too; of a job whose asset was done and whose folder was deleted, the status says so.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.batch.contact import MOST_TILES, Tile, contact_sheet
from dreamfusion_mesh.batch.entry import Entry
from dreamfusion_mesh.batch.finished import is_finished, read_outcome
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import read_manifest
from dreamfusion_mesh.batch.records import Outcome
from dreamfusion_mesh.batch.safe_csv import csv_head, csv_line
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import cannot_read, is_file, shown, write_file
from dreamfusion_mesh.run.settings import SETTINGS, read_settings

SUMMARY, CONTACT, PREVIEW = "summary.csv", "contact.png", "preview.png"
AUDIT_COLUMNS = tuple("audit_" + re.sub("[^a-z0-9]+", "_", name.lower()) for name in PROPERTIES.values())
COLUMNS = (
    *("name", "prompt", "status", "seconds", "triangles"),
    *AUDIT_COLUMNS,
    *("seed", "attempt", "failure", "message", "tags", "folder"),
)
_FIRST = 5  # failures that are shown
_DIGITS = 20  # of numbers in names

Status = Literal["done", "failed", "unfinished", "missing"]


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that failed, and the folder of its last attempt, where its traceback and settings are; None where that was deleted."""

    name: str
    kind: str
    message: str
    folder: Path | None


@dataclass
class Summary:
    """Jobs by status, failed ones by kind, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    first: list[Failed] = field(default_factory=list)

    def count(self, job: _Job) -> None:
        """Take a job in."""
        self.counts[job.status] += 1
        if job.status == "failed":
            self.kinds[job.failure] += 1
            if len(self.first) < _FIRST:
                self.first.append(Failed(job.name, job.failure, job.message, job.folder))


def is_current(folder: BatchFolder) -> bool:
    """Whether both files are there, and nothing was recorded since they were written."""
    try:
        recorded, *written = (os.stat(file).st_mtime_ns for file in (folder.manifest, folder.path / SUMMARY, folder.path / CONTACT))
    except OSError:
        return False
    return recorded <= min(written)


def write_summary(folder: BatchFolder) -> Summary:
    """Write both files anew. Raises BadInput where the folder holds no batch, or where they cannot be written."""
    entries = read_manifest(folder.manifest)
    names = sorted(entries.keys() | set(_finished(folder)), key=_in_order)
    if not names and not is_file(folder.manifest):
        raise BadInput(f"{shown(folder.path)}: holds no batch; name a folder that `batch` wrote")
    found, tiles = Summary(), list[Tile]()

    def lines() -> Iterator[bytes]:
        yield csv_head(COLUMNS)
        for name in names:
            job = _look_up(folder, name, entries.get(name))
            found.count(job)
            if len(tiles) < MOST_TILES:
                tiles.append(job.tile())
            yield job.line(folder.path)

    write_file(folder.path / SUMMARY, lines())
    write_file(folder.path / CONTACT, contact_sheet(tiles, len(names) - len(tiles)))
    return found


@dataclass(frozen=True, slots=True)
class _Job:
    """What is known of a job; `folder` is None where nothing of it is there."""

    name: str
    prompt: str
    status: Status
    seconds: float | None
    triangles: int | None
    audit: tuple[str, ...]
    seed: int | None
    attempt: int | None
    failure: str
    message: str
    tags: tuple[str, ...]
    folder: Path | None

    def line(self, batch: Path) -> bytes:
        """Its line of the CSV file."""
        audit = self.audit if len(self.audit) == len(AUDIT_COLUMNS) else ("",) * len(AUDIT_COLUMNS)
        where = self.folder.relative_to(batch).as_posix() if self.folder else ""
        first = (self.name, self.prompt, self.status, self.seconds, self.triangles)
        return csv_line([*first, *audit, self.seed, self.attempt, self.failure, self.message, " ".join(self.tags), where])

    def tile(self) -> Tile:
        """What the contact sheet shows of it."""
        note = self.failure or (self.status if self.status != "done" else "")
        return Tile(self.name, self.folder / PREVIEW if self.folder else None, note)


def _look_up(batch: BatchFolder, name: str, entry: Entry | None) -> _Job:
    asset = batch.asset(name)
    if entry is None:
        return _from_folder(asset)
    attempt, finished = batch.attempt(name, entry.attempt), is_finished(asset)
    status: Status
    match entry.status:
        case "done":
            status = "done" if finished else "missing"
        case "failed":
            status = "failed"
        case "started":  # or committed by a process that was killed before it could say so
            status = "done" if finished and not os.path.lexists(attempt) else "unfinished"
    committed = finished and (status == "done" or entry.failure == "audit")
    made = read_outcome(asset, False) if committed else None
    seed = _origin(asset)[1] if committed and status == "failed" else entry.seed  # that of the best attempt, which may not be the last
    folder = asset if committed else attempt if os.path.lexists(attempt) else None
    audit, triangles = (made.audit, made.triangles) if made else (entry.audit, entry.triangles)
    known = (entry.attempt, entry.failure or "", entry.message, entry.tags, folder)
    return _Job(name, entry.prompt, status, entry.seconds or None, triangles, audit, seed, *known)


def _from_folder(folder: Path) -> _Job:
    """A finished run that the manifest does not name."""
    prompt, seed = _origin(folder)
    made = read_outcome(folder, False) or Outcome()
    return _Job(folder.name, prompt, "done", made.seconds or None, made.triangles, made.audit, seed, None, "", "", (), folder)


def _origin(folder: Path) -> tuple[str, int | None]:
    """Prompt and seed of a run; none where its settings cannot be read."""
    try:
        config = read_settings(folder / SETTINGS)
    except BadInput:
        return "", None
    return config.prompt, config.seed


def _finished(batch: BatchFolder) -> Iterator[str]:
    """Names of the folders that hold a finished run."""
    try:
        with os.scandir(batch.path) as found:
            for entry in found:
                if not entry.name.startswith(".") and is_finished(Path(entry.path)):
                    yield entry.name
    except OSError as error:
        raise cannot_read(batch.path, error) from None


def _in_order(name: str) -> tuple[str, str]:
    """Sorts names as people do: numbers by their value, whatever the case of letters."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(_DIGITS), name.casefold()), name
