"""Schema versions of the files that a run leaves beside its settings, whose own is in config/schema.py."""

from __future__ import annotations

from typing import Any

from dreamfusion_mesh.errors import BadInput

KEY = "schema"
RESULT = 1
PROVENANCE = 1
AUDIT = 1
CHECKPOINT = 2
CHECKPOINT_CHANGES = "optimisers and the field's heads have names, `seen` is `lookup_sdf`, notes lie with the tensors"  # since 1


def check_schema(where: str, found: Any, current: int, remedy: str, changes: str = "") -> None:
    """Raises BadInput where a file of schema `found` (None: written before there were schemas, 0) cannot be read by this version.

    changes  what is different since the schema before `current`, where that cannot be read any more; "": older ones can
    """
    try:
        version = int(found or 0)
    except (TypeError, ValueError):
        raise BadInput(f"{where}: {KEY}: expected a whole number from 0 to {current} (given {found!r}); {remedy}") from None
    if not 0 <= version <= current:
        raise BadInput(f"{where}: is of schema {version}, this version reads up to {current}; install the one that wrote it, or {remedy}")
    if changes and version < current:
        raise BadInput(f"{where}: is of schema {version}, this version reads {current} ({changes}); use the one that wrote it, or {remedy}")
