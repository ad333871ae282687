"""The audit of any file on disk, and of one in a run's folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from dreamfusion_mesh.audit.engines.round_trips import engine_round_trips
from dreamfusion_mesh.audit.report import Audit
from dreamfusion_mesh.config import RunConfig, change, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import is_file, kind_of, shown
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.run.audit_asset import audit_asset
from dreamfusion_mesh.run.checkpoints import remedy
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.out import RESULT_FILE, checkpoint_name
from dreamfusion_mesh.run.result import files_of, is_as_written, read_record
from dreamfusion_mesh.run.settings import SETTINGS, ForeignSettings
from dreamfusion_mesh.stages.restore import load_mesh

_LOG = logging.getLogger(__name__)
_ASSET = "asset"  # the stem of a delivery's files while there is no result.json that lists them
_REFERENCE = "reference"


def audit_file(
    file: Path, preset: str | None = None, changes: Sequence[str] = (), engine: str | None = None, with_engines: bool = False
) -> Audit:
    """Audit any file. One that a run wrote is compared with that run's settings and surface, unless `preset` is named.

    engine        stands for asset.engine where it is given
    with_engines  let the installed engines read the file, too, which may take minutes
    Read-only, so it takes no lock. Raises BadInput where the file, the settings or the run's reference surface cannot be used.
    """
    changes = [*changes, *([f"asset.engine={engine}"] if engine is not None else [])]
    kind_of(file)  # what cannot be looked up is named by its own path, and not by that of the settings beside it
    run = RunFolder(file.parent)
    own = None if preset else _own_settings(run, file)
    config = load_config(preset or "default", changes) if own is None else change(own, changes, None, ("mesh", "asset", "audit"))
    reference = None if own is None else _reference(run, own.asset.longest_side)
    return audit_asset(file, config, reference, engine_round_trips() if with_engines else None)


def _own_settings(run: RunFolder, file: Path) -> RunConfig | None:
    """The settings of the run that wrote the file; None, with a warning, where what lies beside it has nothing to do with it."""
    settings = run.path / SETTINGS
    if not os.path.lexists(settings):
        return None
    listed = files_of(read_record(run))
    wrote = file.name in listed if listed else file.stem == _ASSET
    problem = f"{shown(settings)}: is of a run that did not write {file.name} ({RESULT_FILE} does not list it)"
    try:
        config = run.config() if wrote or not listed else None
    except ForeignSettings as error:
        problem = error.problem
    else:
        if wrote:
            return config
    if is_file(file):  # what is missing is named instead
        _LOG.warning("%s; %s is audited with the preset 'default', name another with --preset", problem, file.name)
    return None


def _reference(run: RunFolder, longest_side: float) -> Mesh | None:
    """The run's surface before decimation, None where it is missing. Raises BadInput where it is not the one that the run wrote.

    longest_side  of the run's asset, metres
    """
    name = checkpoint_name(_REFERENCE)
    if not run.has_state(_REFERENCE):
        return None
    reference = run.restore(_REFERENCE, lambda state: load_mesh(state, "", 2 * longest_side))
    known = files_of(read_record(run)).get(name)
    if known is not None and not is_as_written(run, name, known):
        raise BadInput(f"{shown(run.path / name)}: is not the one that this run wrote; {remedy(run.path / name)}")
    return reference
