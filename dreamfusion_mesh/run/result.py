"""A run's outcome: result.json holds the hashes of its files and marks it as finished; see publish.py for how it is written."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dreamfusion_mesh.audit.report import Audit, Row
from dreamfusion_mesh.config.schema import KEY, schema_version
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import is_file, open_file, read_text, shown
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.out import AUDIT_FILE, RESULT_FILE
from dreamfusion_mesh.run.schema import AUDIT, RESULT
from dreamfusion_mesh.run.settings import SETTINGS

_OWN_NAME = re.compile(r"(checkpoints/)?\w[\w.-]*")  # a plain name: no folder but that one, and nothing hidden


class FileRecord(BaseModel):
    """A file as result.json lists it."""

    sha256: str
    bytes: int


class _Record(BaseModel):
    """What is read of result.json, beside its schema."""

    files: dict[str, FileRecord]
    warnings: list[str]


class _AuditDocument(BaseModel):
    """audit.json, beside its schema and `passed`, which follows from the rows."""

    file: str
    sha256: str
    rows: list[Row]


@dataclass(frozen=True)
class Result:
    """A finished run: its folder, the files in it, what the audit measured, and the warnings for the user."""

    folder: Path
    files: dict[str, Path]
    audit: Audit
    warnings: tuple[str, ...]


def audit_document(audit: Audit) -> dict[str, Any]:
    """An audit as audit.json holds it, with its schema."""
    return {KEY: AUDIT, **audit.to_json()}


def file_record(content: bytes) -> dict[str, Any]:
    """The SHA-256 and the length of a file, as result.json and provenance.json list them."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def read_result(run: RunFolder) -> Result | None:
    """The finished run in the folder; None where it is not finished, or a file is not the one that was written.

    Raises BadInput where result.json is of a newer schema, or of one that is no whole number.
    """
    record = read_record(run)
    schema_version(shown(run.path / RESULT_FILE), record.get(KEY), RESULT, "name another folder")
    files = files_of(record)
    if not {SETTINGS, AUDIT_FILE} <= files.keys() or not all(is_as_written(run, name, known) for name, known in files.items()):
        return None
    try:
        return as_result(run, record)
    except ValueError:  # edited by hand
        return None


def as_result(run: RunFolder, record: Mapping[str, Any]) -> Result:
    """What result.json says of a run's files, warnings and audit. Raises ValueError where it is broken."""
    known = _Record.model_validate(record)
    names = [name for name in known.files if "/" not in name]
    return Result(run.path, {name: run.path / name for name in (*names, RESULT_FILE)}, _read_audit(run), tuple(known.warnings))


def files_of(record: Mapping[str, Any]) -> dict[str, FileRecord]:
    """The files that result.json lists, by name; none where one is not a file of the run's own folder or of its checkpoints."""
    try:
        files = _Record.model_validate(record).files
    except ValueError:
        return {}
    return files if all(_OWN_NAME.fullmatch(name) for name in files) else {}


def is_as_written(run: RunFolder, name: str, known: FileRecord) -> bool:
    """Whether a file is the one that result.json lists; read only where its length is right."""
    file = run.path / name
    try:
        with open_file(file) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as opened:
            same_length = os.fstat(descriptor).st_size == known.bytes
            return same_length and hashlib.file_digest(opened, "sha256").hexdigest() == known.sha256
    except BadInput:
        return False


def read_record(run: RunFolder) -> dict[str, Any]:
    """What result.json holds; nothing where it is missing or broken."""
    return _read_json(run.path / RESULT_FILE)


def _read_audit(run: RunFolder) -> Audit:
    values = _read_json(run.path / AUDIT_FILE)
    schema_version(shown(run.path / AUDIT_FILE), values.get(KEY), AUDIT, "delete it")
    known = _AuditDocument.model_validate(values)
    return Audit(known.file, known.sha256, tuple(known.rows))


def _read_json(file: Path) -> dict[str, Any]:
    """The object in a file; nothing where the file is missing, or holds something else."""
    try:
        values = json.loads(read_text(file)) if is_file(file) else None
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
