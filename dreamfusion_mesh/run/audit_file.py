"""The audit of any file on disk, and of one in a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dreamfusion_mesh.audit.report import Audit, audit
from dreamfusion_mesh.config import change, load_config
from dreamfusion_mesh.files import is_file, kind_of
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.run.folder import SETTINGS, RunFolder


def audit_file(file: Path, preset: str | None = None, changes: Sequence[str] = ()) -> Audit:
    """Audit any file. One in a run's folder is compared with that run's settings and surface, unless `preset` is named.

    Read-only, so it takes no lock. Raises BadInput where the file or the settings cannot be used.
    """
    kind_of(file)  # what cannot be looked up is named by its own path, and not by that of the settings beside it
    run = RunFolder(file.parent)
    own = preset is None and is_file(run.path / SETTINGS)
    config = change(run.config(), changes, None, ("mesh", "asset", "audit")) if own else load_config(preset or "default", changes)
    state = run.load_state("reference") if own else None
    reference = Mesh(state["vertices"], state["faces"]) if state else None
    return audit(file, config.audit, config.mesh.triangles, config.asset.longest_side, reference)
