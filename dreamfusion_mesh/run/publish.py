"""How the files of a delivery replace those of the one before, together.

They are written to the folder `.staged`, audited there, and moved over the old ones when all are whole: first the files, then run.yaml,
then result.json with their hashes. What stops before the first move leaves the old run as it was; what stops in between leaves files
whose hashes are not those of result.json, so the run is delivered again from its checkpoints.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamfusion_mesh import __version__
from dreamfusion_mesh.config import RunConfig, dump
from dreamfusion_mesh.config.schema import KEY
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import move_file, open_file, read_bytes, remove_file
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.run.audit_asset import audit_asset
from dreamfusion_mesh.run.folder import STAGE_CHECKPOINTS, RunFolder
from dreamfusion_mesh.run.metrics_picture import metrics_picture
from dreamfusion_mesh.run.out import AUDIT_FILE, METRICS, PROVENANCE_FILE, RESULT_FILE, STAGED
from dreamfusion_mesh.run.peak_memory import largest, peak_memory
from dreamfusion_mesh.run.result import (
    Result,
    as_result,
    audit_document,
    file_record,
    files_of,
    is_as_written,
    read_record,
)
from dreamfusion_mesh.run.schema import RESULT
from dreamfusion_mesh.run.settings import SETTINGS


def publish(
    run: RunFolder,
    config: RunConfig,
    files: Mapping[str, bytes],
    main: str,
    reference: Mesh,
    provenance: Mapping[str, Any],
    warnings: Sequence[str],
) -> Result:
    """Write and audit a delivery, put it in the place of the one before, and mark the run as finished.

    files       the asset's files by name; `main` is the one that is audited
    reference   the surface before decimation, in the space of the files; kept for later audits
    provenance  what provenance.json says, but for the seconds and the memory of this half, and the files' hashes
    Raises BadInput where a file cannot be written; before the first one is moved, the run is then as it was.
    """
    stage = RunFolder(run.path / STAGED)
    try:
        for name, content in {**files, **metrics_picture(run.metrics)}.items():
            stage.write(name, content)
        stage.save_state("reference", {"vertices": reference.vertices, "faces": reference.faces})
        notes = {**provenance, "files": {name: file_record(content) for name, content in files.items()}}
        stage.write_json(PROVENANCE_FILE, notes)  # which the audit reads, and where its own seconds are added then
        started = time.perf_counter()
        found = audit_asset(stage.path / main, config, reference)
        seconds = {**provenance["seconds"], "audit": round(time.perf_counter() - started, 3)}
        stage.write_json(AUDIT_FILE, audit_document(found))
        memory = largest(provenance["memory"], peak_memory())
        stage.write_json(PROVENANCE_FILE, {**notes, "seconds": seconds, "memory": memory})
        stage.write(SETTINGS, dump(config).encode())
        names = _move_all(stage, run)
    finally:
        shutil.rmtree(stage.path, ignore_errors=True)
    record = _record(run, config, names, warnings)
    run.write_json(RESULT_FILE, record)
    return as_result(run, record)


def _record(run: RunFolder, config: RunConfig, names: Sequence[str], warnings: Sequence[str]) -> dict[str, Any]:
    """What result.json says of the run whose files `names` are in their places."""
    return {
        KEY: RESULT,
        "generator": f"dreamfusion_mesh {__version__}",
        "prompt": config.prompt,
        "seed": config.seed,
        "warnings": list(warnings),
        "files": {name: file_record(read_bytes(run.path / name)) for name in names},
    }


def _move_all(stage: RunFolder, run: RunFolder) -> list[str]:
    """Move every staged file to its place, run.yaml last, and remove what the delivery before had and this one has not.

    Returns the names of all files that result.json answers for.
    """
    earlier = files_of(read_record(run))
    staged = sorted(file.relative_to(stage.path).as_posix() for file in stage.path.rglob("*") if file.is_file())
    for name in sorted(staged, key=lambda name: name == SETTINGS):
        move_file(stage.path / name, run.path / name)
    names = sorted([*staged, *(name for name in (METRICS, *STAGE_CHECKPOINTS) if _is_readable(run.path / name))])
    for name in earlier.keys() - set(names):
        if is_as_written(run, name, earlier[name]):  # and not a file that has its name by now, or that was listed by hand
            remove_file(run.path / name)
    return names


def _is_readable(file: Path) -> bool:
    """Whether there is a regular file that can be opened; a log may be anything, and bars no run."""
    try:
        with open_file(file):
            return True
    except BadInput:
        return False
