"""The last figures of each part and machine, in a JSON file beside the page: parts are measured apart, and on machines of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.files.write import write_file
from tools.bench.records import Figure, Machine, Measured

SCHEMA = 1


def read_measured(file: Path) -> list[Measured]:
    """What was measured before; nothing where there is no such file. Raises BadInput where it holds something else."""
    if not file.exists():
        return []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']}, {SCHEMA} is wanted")
        return [_measured(part) for part in found["parts"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{shown(file)}: holds no figures of these tools ({error}); remove it, and all parts are measured anew") from None


def merged(known: Sequence[Measured], new: Measured) -> list[Measured]:
    """`new` in the place of the same part on the same machine, or behind the part's other machines."""
    kept = [each for each in known if (each.part, each.machine.place) != (new.part, new.machine.place)]
    return [*kept, new]


def write_measured(file: Path, parts: Sequence[Measured]) -> None:
    text = json.dumps({"schema": SCHEMA, "parts": [asdict(part) for part in parts]}, indent=1)
    write_file(file, (text + "\n").encode())


def _measured(part: dict[str, Any]) -> Measured:
    machine = Machine(**{**part["machine"], "versions": tuple((name, version) for name, version in part["machine"]["versions"])})
    figures = tuple(
        Figure(**{**each, "values": tuple(each["values"]), "plot": tuple(each["plot"]) if each["plot"] else None})
        for each in part["figures"]
    )
    return Measured(part["part"], part["command"], machine, figures)
