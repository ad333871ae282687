"""Schema versions of the files that a run leaves beside its settings, whose own is in config/schema.py."""

from __future__ import annotations

from typing import Any

from dreamfusion_mesh.errors import BadInput

KEY = "schema"
RESULT = 1
PROVENANCE = 1
AUDIT = 1
CHECKPOINT = 1  # 0, without a version: the same tensors, without notes


def check_schema(where: str, found: Any, current: int, remedy: str) -> None:
    """Raises BadInput where a file of schema `found` (None: written before there were schemas, 0) cannot be read by this version."""
    try:
        version = int(found or 0)
    except (TypeError, ValueError):
        raise BadInput(f"{where}: {KEY}: expected a whole number from 0 to {current} (given {found!r}); {remedy}") from None
    if not 0 <= version <= current:
        raise BadInput(f"{where}: is of schema {version}, this version reads up to {current}; install the one that wrote it, or {remedy}")
