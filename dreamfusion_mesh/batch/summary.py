"""summary.csv and contact.png: what became of every job, from the manifest and the jobs' folders, at any time.

See standing.py for what is there, and in which order.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.batch.contact import MOST_TILES, Tile, contact_sheet
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.safe_csv import csv_head, csv_line
from dreamfusion_mesh.batch.standing import Standing, standings
from dreamfusion_mesh.files import write_file
from dreamfusion_mesh.run.out import CONTACT, SUMMARY

PREVIEW = "preview.png"
AUDIT_COLUMNS = tuple("audit_" + re.sub("[^a-z0-9]+", "_", name.lower()) for name in PROPERTIES.values())
COLUMNS = (
    *("name", "prompt", "status", "seconds", "triangles"),
    *AUDIT_COLUMNS,
    *("seed", "attempt", "failure", "message", "tags", "folder"),
)
_FIRST = 5  # failures that are shown


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

    def count(self, job: Standing) -> None:
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
    total, jobs = standings(folder)
    found, tiles = Summary(), list[Tile]()

    def lines() -> Iterator[bytes]:
        yield csv_head(COLUMNS)
        for job in jobs:
            found.count(job)
            if len(tiles) < MOST_TILES:
                tiles.append(_tile(job))
            yield _line(job, folder.path)

    write_file(folder.path / SUMMARY, lines())
    write_file(folder.path / CONTACT, contact_sheet(tiles, total - len(tiles)))
    return found


def _line(job: Standing, batch: Path) -> bytes:
    """A job's line of the CSV file."""
    audit = job.audit if len(job.audit) == len(AUDIT_COLUMNS) else ("",) * len(AUDIT_COLUMNS)
    where = job.folder.relative_to(batch).as_posix() if job.folder else ""
    first = (job.name, job.prompt, job.status, job.seconds, job.triangles)
    return csv_line([*first, *audit, job.seed, job.attempt, job.failure, job.message, " ".join(job.tags), where])


def _tile(job: Standing) -> Tile:
    """What the contact sheet shows of a job."""
    note = job.failure or (job.status if job.status != "done" else "")
    return Tile(job.name, job.folder / PREVIEW if job.folder else None, note)
