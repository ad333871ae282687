"""What run folders tell of a batch's jobs, where the manifest does not: which attempt made one, what came of it, and which is the best."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.records import Attempt, Job, Outcome, retry_seed
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_bytes
from dreamfusion_mesh.run.out import AUDIT_FILE, PROVENANCE_FILE, RESULT_FILE, checkpoint_name
from dreamfusion_mesh.run.settings import SETTINGS, differences, read_settings

_BUDGET = 3  # the row of the audit that counts triangles
_LARGEST_RECORD = 1 << 24  # bytes
_Seconds = Annotated[float, Field(ge=0, le=1e12)]


class _Measured(BaseModel):
    triangles: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class _Row(BaseModel):
    number: int
    property: str
    status: Annotated[str, Field(pattern="^(pass|fail|not measured)$")]
    measured: _Measured


class _Audit(BaseModel):
    rows: list[_Row]


class Provenance(BaseModel):
    """What is read of provenance.json: seconds by the stage's name."""

    seconds: dict[str, _Seconds]


class _Result(BaseModel):
    warnings: list[str]


def is_finished(folder: Path) -> bool:
    """Whether a run folder has its result."""
    return os.path.isfile(folder / RESULT_FILE)


def is_fitted(folder: Path) -> bool:
    """Whether its fit is finished, so that its delivery alone may be left."""
    return os.path.isfile(folder / checkpoint_name("fine"))


def find_attempt(folder: Path, job: Job, last: int) -> Attempt | None:
    """The attempt at `job`, of number 0 to `last`, whose settings run.yaml in the folder has but for the device; None where it is none."""
    try:
        found = read_settings(folder / SETTINGS)
    except BadInput:
        return None
    number = next((number for number in range(last + 1) if retry_seed(job.seed, number) == found.seed), None)
    if number is None or differences(found, Attempt(job, number).config).keys() - {"device"}:
        return None
    return Attempt(job, number)


def read_record(file: Path) -> object:
    """What a JSON file of a run holds. Raises ValueError or RecursionError where it cannot be read."""
    return json.loads(read_bytes(file, _LARGEST_RECORD))


def read_outcome(folder: Path, strict: bool) -> Outcome | None:
    """What came of the finished run in a folder; None where it is not finished, or a record of it is broken.

    strict  a row of the audit that is no pass is a failure
    """
    try:
        result = _Result.model_validate(read_record(folder / RESULT_FILE))
        audit = _Audit.model_validate(read_record(folder / AUDIT_FILE))
        provenance = Provenance.model_validate(read_record(folder / PROVENANCE_FILE))
    except (ValueError, RecursionError):
        return None
    poor = [f"{row.property}: {row.status}" for row in audit.rows if row.status != "pass"]
    return Outcome(
        failure="audit" if strict and poor else None,
        message=f"audit: {', '.join(poor)}" if strict and poor else "",
        seconds=sum(provenance.seconds.values()),
        triangles=next((row.measured.triangles for row in audit.rows if row.number == _BUDGET), None),
        audit=tuple(row.status for row in audit.rows),
        warnings=tuple(result.warnings),
    )


def best_attempt(folder: BatchFolder, job: Job, last: int) -> Attempt | None:
    """Of the finished attempts of number 0 to `last`, the first one with the fewest rows of the audit that are no pass.

    None where none is finished, or the job's finished folder is an attempt of these settings already and no worse.
    """
    outcomes = [read_outcome(folder.attempt(job.name, number), True) for number in range(last + 1)]
    rated = [(_poor_rows(outcome), number) for number, outcome in enumerate(outcomes) if outcome is not None]
    if not rated:
        return None
    fewest, best = min(rated)
    made = read_outcome(folder.asset(job.name), True)
    if made is not None and _poor_rows(made) <= fewest and find_attempt(folder.asset(job.name), job, last) is not None:
        return None
    return Attempt(job, best)


def _poor_rows(outcome: Outcome) -> int:
    return sum(status != "pass" for status in outcome.audit)
