"""summary.csv and contact.png: what became of every job, from the manifest and the jobs' folders, at any time.

Jobs are in the order of their names, in which mug-2 comes before mug-10. Folders of finished runs that the manifest does not name are
there too; of a job whose asset was done and whose folder was deleted, the status says so.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.batch.safe_csv import csv_head, csv_line
from dreamfusion_mesh.batch.contact import MOST_TILES, Tile, contact_sheet
from dreamfusion_mesh.batch.entry import Entry
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import read_manifest
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import cannot_read, is_file, read_text, shown, write_file
from dreamfusion_mesh.run.out import AUDIT_FILE, RESULT_FILE

SUMMARY, CONTACT, PREVIEW = "summary.csv", "contact.png", "preview.png"
AUDIT_COLUMNS = tuple("audit_" + re.sub("[^a-z0-9]+", "_", name.lower()) for name in PROPERTIES.values())
COLUMNS = (
    *("name", "prompt", "status", "seconds", "triangles"),
    *AUDIT_COLUMNS,
    *("seed", "attempt", "failure", "message", "tags", "folder"),
)
_FIRST = 5  # failures that are shown
_LARGEST_RECORD = 1 << 24  # bytes of a run's JSON
_BUDGET = 3  # the row of the audit that counts triangles
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
    record = _read_json(batch.asset(name) / RESULT_FILE)
    if entry is None:
        return _from_folder(batch.asset(name), record)
    attempt = batch.attempt(name, entry.attempt)
    status: Status
    match entry.status:
        case "done":
            status = "done" if record else "missing"
        case "failed":
            status = "failed"
        case "started":  # or committed by a process that was killed before it could say so
            status = "done" if record and not os.path.lexists(attempt) else "unfinished"
    committed = bool(record) and (status == "done" or entry.failure == "audit")
    folder = batch.asset(name) if committed else attempt if os.path.lexists(attempt) else None
    audit, triangles = _audited(batch.asset(name)) if committed else (entry.audit, entry.triangles)
    known = (entry.seed, entry.attempt, entry.failure or "", entry.message, entry.tags)
    return _Job(name, entry.prompt, status, entry.seconds or None, triangles, audit, *known, folder)


def _from_folder(folder: Path, record: Mapping[str, Any]) -> _Job:
    """A finished run that the manifest does not name."""
    prompt, seed = record.get("prompt"), record.get("seed")
    audit, triangles = _audited(folder)
    known = (prompt if isinstance(prompt, str) else "", "done", None, triangles, audit, seed if type(seed) is int else None)
    return _Job(folder.name, *known, None, "", "", (), folder)


def _audited(folder: Path) -> tuple[tuple[str, ...], int | None]:
    """Each row's status in the order of PROPERTIES, and the triangles that the audit of a run counted; nothing where it is broken."""
    rows = _read_json(folder / AUDIT_FILE).get("rows")
    listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    found = {row["number"]: row for row in listed if isinstance(row.get("number"), int)}
    status = tuple(str(found.get(number, {}).get("status", "")) for number in PROPERTIES)
    measured = found.get(_BUDGET, {}).get("measured")
    triangles = measured.get("triangles") if isinstance(measured, dict) else None
    return status, triangles if type(triangles) is int else None


def _read_json(file: Path) -> dict[str, Any]:
    """The object in a run's file; nothing where that is missing or broken. Needs no torch, as run/result.py does."""
    try:
        values = json.loads(read_text(file, _LARGEST_RECORD))
    except (BadInput, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _finished(batch: BatchFolder) -> Iterator[str]:
    """Names of the folders that hold a finished run."""
    try:
        with os.scandir(batch.path) as found:
            for entry in found:
                if not entry.name.startswith(".") and os.path.isfile(os.path.join(entry.path, RESULT_FILE)):
                    yield entry.name
    except OSError as error:
        raise cannot_read(batch.path, error) from None


def _in_order(name: str) -> tuple[str, str]:
    """Sorts names as people do: numbers by their value, whatever the case of letters."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(_DIGITS), name.casefold()), name
