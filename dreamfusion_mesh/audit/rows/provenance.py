"""Row 15: is it stated where the file comes from, and is it still the file that was written?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamfusion_mesh.audit.readers.files import excerpt, read_bytes
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import is_file, read_text

RECORD = "provenance.json"
MAX_RECORD_BYTES = 16 << 20
_MOST_FILES = 1000
_MOST_NAMED = 5  # files in a message
_PLAIN_NAME = re.compile(r"\w[\w.-]*")  # of a file beside the record


def provenance_row(path: Path, sha256: str, notes: Mapping[str, Any]) -> Row:
    """Row 15 of the file at `path`, by the provenance.json beside it that lists the file, and by the file's own `notes`."""
    record = _record(path)
    stated = required({**_of_notes(notes), **record})
    absent = [name for name, value in stated.items() if value in (None, "", {}, [])]
    if not record and len(absent) == len(stated):
        return unmeasured_row(15, f"there is no {RECORD} that lists {path.name}, and the file itself states nothing of it")
    problems = [f"not stated: {', '.join(absent)}"] if absent else []
    changed = _changed_files(path, sha256, record.get("files"))
    problems += [f"not as {RECORD} lists them: {', '.join(changed[:_MOST_NAMED])}"] if changed else []
    measured: Figures = {"stated": len(stated) - len(absent), "files": len(_listed(record.get("files")))}
    return measured_row(15, measured, problems)


def required(stated: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be stated, by its name in messages; None where it is not."""
    guidance, rasterizer = _object(stated, "guidance"), _object(stated, "rasterizer")
    return {
        "prompt": stated.get("prompt"),
        "seed": stated.get("seed"),
        "settings": stated.get("settings"),
        "versions": stated.get("versions"),
        "the model": guidance.get("model"),
        "the model's licence": guidance.get("licence") or guidance.get("licences"),
        "the rasterizer": rasterizer.get("name"),
        "the rasterizer's licence": rasterizer.get("licence"),
        "hashes of the files": stated.get("files"),
    }


def _of_notes(notes: Mapping[str, Any]) -> dict[str, Any]:
    """A glTF's notes with the names of a record: they hold the guidance's facts as `model`."""
    return {**notes, "guidance": notes.get("guidance", notes.get("model"))}


def _record(path: Path) -> dict[str, Any]:
    """What provenance.json beside the file holds; nothing where there is none, or it is about other files."""
    file = path.parent / RECORD
    try:
        values = json.loads(read_text(file, MAX_RECORD_BYTES)) if is_file(file) else None
    except (BadInput, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) and path.name in _listed(values.get("files")) else {}


def _listed(files: Any) -> dict[str, Any]:
    return files if isinstance(files, dict) and len(files) <= _MOST_FILES else {}


def _changed_files(path: Path, sha256: str, files: Any) -> list[str]:
    """The files that a record lists and that are not beside it as they were written."""
    changed = []
    for name, entry in _listed(files).items():
        known = entry.get("sha256") if isinstance(entry, dict) else None
        if name == path.name:
            found: str | None = sha256
        else:
            found = _sha256(path.parent / name) if _PLAIN_NAME.fullmatch(name) else None
        if known is None or known != found:
            changed.append(excerpt(name))
    return changed


def _sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(read_bytes(file)).hexdigest()
    except BadInput:
        return None


def _object(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}
