"""A run's outcome: result.json holds the hashes of its files and marks it as finished; see publish.py for how it is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamfusion_mesh.audit.report import Audit, Row
from dreamfusion_mesh.config.schema import KEY, schema_version
from dreamfusion_mesh.files import read_bytes, read_text
from dreamfusion_mesh.run.folder import SETTINGS, RunFolder
from dreamfusion_mesh.run.out import RESULT_FILE
from dreamfusion_mesh.run.schema import AUDIT, RESULT

AUDIT_FILE = "audit.json"


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
    schema_version(str(run.path / RESULT_FILE), record.get(KEY), RESULT, "name another folder")
    try:
        files = record["files"]
        same = all(file_record(read_bytes(run.path / name)) == found for name, found in files.items())
        return as_result(run, record) if same and {SETTINGS, AUDIT_FILE} <= set(files) else None
    except (KeyError, TypeError, AttributeError, ValueError, OSError):  # missing, or edited by hand
        return None


def as_result(run: RunFolder, record: Mapping[str, Any]) -> Result:
    """What result.json says of a run's files, warnings and audit. Raises KeyError, TypeError, ValueError or OSError where it is broken."""
    names = [name for name in record["files"] if "/" not in name]
    return Result(run.path, {name: run.path / name for name in (*names, RESULT_FILE)}, _read_audit(run), tuple(record["warnings"]))


def _read_audit(run: RunFolder) -> Audit:
    values = json.loads(read_text(run.path / AUDIT_FILE))
    schema_version(str(run.path / AUDIT_FILE), values[KEY], AUDIT, "delete it")
    return Audit(values["file"], values["sha256"], tuple(Row(**row) for row in values["rows"]))


def read_record(run: RunFolder) -> dict[str, Any]:
    """What result.json holds; nothing where it is missing or broken."""
    try:
        values = json.loads(read_text(run.path / RESULT_FILE))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
