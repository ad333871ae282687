"""How every job of a batch stands, from the manifest and the jobs' folders, at any time.

Jobs are in the order of their names, in which mug-2 comes before mug-10. Folders of finished runs that the manifest does not name are
there too; of a job whose asset was done and whose folder was deleted, the status says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dreamfusion_mesh.batch.entry import Entry
from dreamfusion_mesh.batch.finished import is_finished, read_outcome
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import read_manifest
from dreamfusion_mesh.batch.records import Outcome
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import cannot_read, is_file, shown
from dreamfusion_mesh.run.settings import SETTINGS, read_settings

_DIGITS = 20  # of numbers in names

Status = Literal["done", "failed", "unfinished", "missing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a job.

    seconds  of work on it; None where none is known
    seed     of the attempt that this is about, `attempt` its number; None where they are not known
    failure  the kind of failure, empty where it did not fail
    folder   of the asset, or of the last attempt; None where nothing of it is there
    asset    `folder` holds a finished asset; one whose audit failed is there all the same
    time     when the manifest was last told of it, ISO 8601 in UTC; empty where it was not
    """

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
    asset: bool
    time: str = ""


def standings(folder: BatchFolder) -> tuple[int, Iterator[Standing]]:
    """How many jobs there are, and how each stands, looked up as it is asked for. Raises BadInput where the folder holds no batch."""
    entries = read_manifest(folder.manifest)
    names = sorted(entries.keys() | set(_finished(folder)), key=_in_order)
    if not names and not is_file(folder.manifest):
        raise BadInput(f"{shown(folder.path)}: holds no batch; name a folder that `batch` wrote")
    return len(names), (_look_up(folder, name, entries.get(name)) for name in names)


def _look_up(batch: BatchFolder, name: str, entry: Entry | None) -> Standing:
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
    return Standing(name, entry.prompt, status, entry.seconds or None, triangles, audit, seed, *known, asset=committed, time=entry.time)


def _from_folder(folder: Path) -> Standing:
    """A finished run that the manifest does not name."""
    prompt, seed = _origin(folder)
    made = read_outcome(folder, False) or Outcome()
    return Standing(folder.name, prompt, "done", made.seconds or None, made.triangles, made.audit, seed, None, "", "", (), folder, True)


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
