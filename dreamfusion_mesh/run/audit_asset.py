"""The audit of an asset by a run's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dreamfusion_mesh.audit.read_back import RoundTrip
from dreamfusion_mesh.audit.report import Audit, audit
from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.records import Mesh


def audit_asset(file: Path, config: RunConfig, reference: Mesh | None, round_trips: Mapping[str, RoundTrip] | None = None) -> Audit:
    """Audit `file` by what `config` asks of it. Raises BadInput as `audit` does.

    reference    the surface before decimation, in the space of the file; None where there is none
    round_trips  programs beside trimesh that are to read the file, by name
    """
    asked = config.mesh.triangles, config.asset.longest_side
    return audit(file, config.audit, *asked, reference, config.asset.engine, config.mesh.max_bytes, round_trips)
