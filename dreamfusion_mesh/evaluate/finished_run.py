"""A finished run as an evaluation needs it: its asset is there as it was written, and its records can be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dreamfusion_mesh.audit.row import PROPERTIES, Row
from dreamfusion_mesh.batch.finished import read_record as read_json
from dreamfusion_mesh.config.schema import KEY, schema_version
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.records import Run
from dreamfusion_mesh.files import is_file, shown
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.out import ASSET, AUDIT_FILE, PROVENANCE_FILE, RESULT_FILE, generate_command
from dreamfusion_mesh.run.result import as_result, files_of, is_as_written, read_record
from dreamfusion_mesh.run.schema import RESULT
from dreamfusion_mesh.run.settings import SETTINGS

_SOUND_SURFACE = 2  # the row of the audit that counts parts and holes


class _Provenance(BaseModel):
    """What is read of provenance.json: seconds by the stage's name, bytes by the kind of memory, what guided."""

    seconds: dict[Annotated[str, Field(pattern=r"^[a-z ]{1,40}$")], Annotated[float, Field(ge=0, le=1e12)]]
    memory: dict[Literal["resident", "card"], Annotated[int, Field(ge=0, lt=2**63)]] = {}
    guidance: dict[str, Any] = {}


def read_run(folder: Path, group: str) -> Run:
    """The finished run in a folder. Raises BadInput in one line where a file of it is gone or changed, or cannot be read."""
    run = RunFolder(folder)
    record = read_record(run)
    schema_version(shown(folder / RESULT_FILE), record.get(KEY), RESULT, "leave this run out")
    remedy = f"`{generate_command(folder)}` makes it again"
    known = files_of(record)
    for name in (ASSET, SETTINGS, AUDIT_FILE, PROVENANCE_FILE):
        if not is_file(folder / name):
            raise BadInput(f"{shown(folder / name)}: is missing, though its run is finished; {remedy}")
        if name not in known or not is_as_written(run, name, known[name]):
            raise BadInput(f"{shown(folder / name)}: is not the one that {RESULT_FILE} lists; {remedy}")
    config = run.config()
    try:
        rows = as_result(run, record).audit.rows
        notes = _Provenance.model_validate(read_json(folder / PROVENANCE_FILE))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{shown(folder)}: {AUDIT_FILE} or {PROVENANCE_FILE} is not as a run writes it; {remedy}") from None
    parts, holes = _parts_and_holes(rows)
    return Run(
        group=group,
        name=shown(folder.resolve().name),
        prompt=config.prompt,
        seed=config.seed,
        folder=folder,
        engine=config.asset.engine,
        audit={PROPERTIES[row.number]: row.status for row in rows if row.number in PROPERTIES},
        parts=parts,
        holes=holes,
        seconds={**notes.seconds, "all": round(sum(notes.seconds.values()), 3)},
        memory={kind: size for kind, size in notes.memory.items()},
        guidance=notes.guidance,
    )


def _parts_and_holes(rows: Sequence[Row]) -> tuple[int | None, int | None]:
    """Separate solids, and holes through them, as the audit counted; None where it did not."""
    measured = next((row.measured for row in rows if row.number == _SOUND_SURFACE), {})
    shells, cavities, holes = (measured.get(name) for name in ("shells", "cavities", "holes through it"))
    parts = shells - cavities if isinstance(shells, int) and isinstance(cavities, int) else None
    return parts, holes if isinstance(holes, int) else None
