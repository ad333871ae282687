"""Schema versions: that of any file, checked in one place; that of settings kept in files, and how those of an older one are read.

run.yaml, and a preset made from it, say `schema: N`; a file that says nothing is of schema 0, or written by hand. A setting whose meaning
changes gets a new name, so a migration acts on names that are gone and leaves current files as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dreamfusion_mesh.errors import BadInput

KEY = "schema"


@dataclass(frozen=True)
class Migration:
    """What changed in the settings from one schema to the next; names are dotted, such as coarse.steps.

    renamed  old name to new name; the value stays
    dropped  settings that are gone and did not change the asset
    refused  settings that are gone and have no equivalent, to the remedy
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


MIGRATIONS: tuple[Migration, ...] = (  # the n-th leads from schema n to n + 1
    Migration(dropped=("coarse.checkpoint_interval", "fine.checkpoint_interval")),  # checkpoints are taken by seconds
)
SCHEMA = len(MIGRATIONS)


def schema_version(where: str, found: Any, current: int, remedy: str) -> int:
    """The schema `found` in a file (None: written before there were schemas, 0), where this version knows it.

    Raises BadInput, which begins with `where`, for what is no whole number, or for a schema newer than `current`.
    """
    version = 0 if found is None else found
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise BadInput(f"{where}: {KEY}: expected a whole number from 0 to {current} (given {found!r}); {remedy}")
    if version > current:
        raise BadInput(f"{where}: is of schema {version}, this version reads up to {current}; install the one that wrote it, or {remedy}")
    return version


def migrate(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings of any older schema as the current one has them, without the schema's key; `values` stay as they are.

    Raises BadInput, which begins with `where`, as `schema_version` does, or for settings that have no equivalent, naming each.
    """
    moved = {key: _copy(value) for key, value in values.items() if key != KEY}
    found = schema_version(where, values.get(KEY), len(MIGRATIONS), "name another preset")
    for migration in MIGRATIONS[found:]:
        refused = [f"{name} ({remedy})" for name, remedy in migration.refused.items() if _take(moved, name)]
        if refused:
            changed = f"since schema {found} these have changed: {', '.join(refused)}"
            raise BadInput(f"{where}: {changed}; this version reads schema {len(MIGRATIONS)}")
        for name in migration.dropped:
            _take(moved, name)
        for old, new in migration.renamed.items():
            for value in _take(moved, old):
                _put(moved, new, value)
    return moved


def _copy(value: Any) -> Any:
    return {key: _copy(entry) for key, entry in value.items()} if isinstance(value, Mapping) else value


def _take(values: dict[str, Any], name: str) -> list[Any]:
    """The value of a dotted name, taken out with the groups that it leaves empty; nothing where there is none."""
    first, _, rest = name.partition(".")
    below = values.get(first)
    if not rest:
        return [values.pop(first)] if first in values else []
    found = _take(below, rest) if isinstance(below, dict) else []
    if found and not below:
        del values[first]
    return found


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    first, _, rest = name.partition(".")
    below = values.setdefault(first, {} if rest else value)
    if rest and isinstance(below, dict):
        _put(below, rest, value)
