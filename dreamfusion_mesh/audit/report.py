"""Is the written file game-ready? Fifteen rows measured on the file itself, not on what the exporter believes; a table and JSON of them.

A row passes, fails, or states why it is not measured: also where the file asks a viewer for what the audit does not apply, in each row
that depends on it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.atlas import Atlas, measure_atlas
from dreamfusion_mesh.audit.read_back import RoundTrip, read_with_trimesh
from dreamfusion_mesh.audit.readers.files import read_bytes
from dreamfusion_mesh.audit.readers.model import GLTF_SUFFIXES, SUFFIXES, read_model
from dreamfusion_mesh.audit.readers.written import Part, Written
from dreamfusion_mesh.audit.row import PROPERTIES, Row, measured_row, unmeasured_row
from dreamfusion_mesh.audit.rows.budget import budget_row
from dreamfusion_mesh.audit.rows.collision import collision_row
from dreamfusion_mesh.audit.rows.gaps import gaps_row
from dreamfusion_mesh.audit.rows.lods import levels_row
from dreamfusion_mesh.audit.rows.normals import normals_row
from dreamfusion_mesh.audit.rows.pbr import pbr_row
from dreamfusion_mesh.audit.rows.placement import placement_row
from dreamfusion_mesh.audit.rows.provenance import provenance_row
from dreamfusion_mesh.audit.rows.round_trip import round_trip_row
from dreamfusion_mesh.audit.rows.seams import seams_row
from dreamfusion_mesh.audit.rows.soundness import soundness_row
from dreamfusion_mesh.audit.rows.tangents import tangents_row
from dreamfusion_mesh.audit.rows.texel_density import texel_density_row
from dreamfusion_mesh.audit.rows.uvs import uvs_row
from dreamfusion_mesh.audit.rows.validity import validity_row
from dreamfusion_mesh.audit.siblings import find_hulls, find_levels
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import check_path, shown
from dreamfusion_mesh.geometry.defects import defects
from dreamfusion_mesh.records import Mesh

# The parts of a file that a row is about: where one of them cannot be read as a viewer would show it, the row is not measured.
_ABOUT: dict[int, tuple[Part, ...]] = {
    2: ("surface",),
    3: ("surface",),
    4: ("uvs",),
    5: ("uvs", "images", "materials"),
    6: ("surface", "uvs", "images", "materials"),
    7: ("images", "materials"),
    8: ("surface", "uvs", "normals", "images", "materials"),
    9: ("surface", "normals"),
    10: ("surface", "uvs", "images", "materials"),
    11: ("surface", "uvs", "images", "materials"),
    12: ("surface",),
    13: ("surface",),
    14: ("surface",),
}


@dataclass(frozen=True)
class Audit:
    """Every row of one file; `sha256` is the file's, `written` what was read of it, where that is at hand, `settings` the thresholds."""

    file: str
    sha256: str
    rows: tuple[Row, ...]
    written: Written | None = field(default=None, compare=False, repr=False)
    settings: AuditSettings = field(default_factory=AuditSettings, compare=False, repr=False)

    @property
    def passed(self) -> bool:
        """No row fails."""
        return all(row.status != "fail" for row in self.rows)

    @property
    def strictly_passed(self) -> bool:
        """Every row passes: none fails, and none is left unmeasured."""
        return all(row.status == "pass" for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for json.dumps."""
        rows = [
            {"number": row.number, "property": row.property, "status": row.status, "measured": dict(row.measured), "detail": row.detail}
            for row in self.rows
        ]
        return {"file": self.file, "sha256": self.sha256, "passed": self.passed, "rows": rows}

    def table(self) -> str:
        """The rows as text, one a line, with what was measured and what is wrong; how many of them are which at the end."""
        lines = []
        for row in self.rows:
            figures = ", ".join(f"{name} {_format(value)}" for name, value in row.measured.items())
            text = "; ".join(part for part in (figures, row.detail) if part)
            lines.append(f"{row.number:>2}  {row.property:<14} {row.status:<12}  {text}")
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """How many rows passed, failed and were not measured."""
        passed, failed, left = (sum(row.status == status for row in self.rows) for status in ("pass", "fail", "not measured"))
        return f"{passed} of {len(self.rows)} rows passed, {failed} failed, {left} not measured"


@dataclass(frozen=True, eq=False)
class _Case:
    """What rows are measured on and by; see `audit`."""

    path: Path
    data: bytes
    settings: AuditSettings
    budget: int
    longest_side: float | None
    reference: Mesh | None
    engine: str
    max_bytes: int | None
    round_trips: Mapping[str, RoundTrip]


def audit(
    path: Path,
    settings: AuditSettings,
    budget: int,
    longest_side: float | None = None,
    reference: Mesh | None = None,
    engine: str = "generic",
    max_bytes: int | None = None,
    round_trips: Mapping[str, RoundTrip] | None = None,
) -> Audit:
    """Measure a file of one of SUFFIXES, with its levels of detail, its hulls and its provenance where they lie beside it.

    budget        triangles allowed
    longest_side  asked size in metres; None where none was asked
    reference     the refined mesh in the file's own space (placed and scaled alike), for rows 3 and 8; None leaves those parts unmeasured
    engine        generic, unreal, unity or godot: by whose names levels and hulls in the file are known
    max_bytes     of a glTF; None where no number was asked
    round_trips   programs beside trimesh that row 14 lets read the file, by name
    Raises BadInput where the file is missing, of another kind, or cannot be read. A glTF that is there and cannot be read fails row 2
    instead, beside what the validator says in row 1, and the other rows state that they could not be measured.
    """
    path = Path(path)
    check_path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{path}: expected a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    data = read_bytes(path)
    check_path(os.path.realpath(path), shown(path))  # by which the validator opens it
    is_gltf = path.suffix.lower() in GLTF_SUFFIXES
    valid = validity_row(path) if is_gltf else unmeasured_row(1, f"{path.suffix[1:].upper()} is not glTF")
    try:
        written = read_model(data, path, engine)
    except BadInput as error:
        if not is_gltf:
            raise
        return Audit(path.name, hashlib.sha256(data).hexdigest(), (valid, *_unreadable_rows(str(error))), None, settings)
    programs = {"trimesh": read_with_trimesh, **(round_trips or {})}
    case = _Case(path, data, settings, budget, longest_side, reference, engine, max_bytes, programs)
    with np.errstate(all="ignore"):  # what is not finite fails its row
        rows = [_row(number, measure, written) for number, measure in sorted(_measures(written, case).items())]
    return Audit(path.name, hashlib.sha256(data).hexdigest(), (valid, *rows), written, settings)


def _unreadable_rows(why: str) -> list[Row]:
    """All rows but the first of a file that cannot be read: the second fails, so that no such file passes."""
    rest = [unmeasured_row(number, "the file cannot be read") for number in PROPERTIES if number > 2]
    return [measured_row(2, {}, [f"the file cannot be read: {why}"]), *rest]


def _row(number: int, measure: Callable[[], Row], written: Written) -> Row:
    why = list(dict.fromkeys(written.unread[part] for part in _ABOUT.get(number, ()) if part in written.unread))
    try:
        return unmeasured_row(number, "; ".join(why)) if why else measure()
    except BadInput as error:  # such as a texture that does not decode, which row 7 fails on
        return unmeasured_row(number, str(error))


def _measures(written: Written, case: _Case) -> dict[int, Callable[[], Row]]:
    """How each row but the first is measured; what several rows need is made once, when the first of them asks."""
    settings, engine = case.settings, case.engine
    seen = cache(lambda: defects(written.vertices, written.faces))
    atlas = cache(lambda: measure_atlas(written))
    return {
        2: lambda: soundness_row(written, settings, seen()),
        3: lambda: budget_row(written, settings, case.budget, case.reference, len(case.data), case.max_bytes),
        4: lambda: _on_atlas(4, written, atlas(), uvs_row),
        5: lambda: _on_atlas(5, written, atlas(), lambda found: gaps_row(found, settings)),
        6: lambda: _on_atlas(6, written, atlas(), lambda found: texel_density_row(found, settings)),
        7: lambda: pbr_row(written),
        8: lambda: tangents_row(written, case.reference),
        9: lambda: normals_row(written),
        10: lambda: seams_row(written, atlas(), settings),
        11: lambda: _beside(11, lambda: levels_row(written, find_levels(case.path, written, engine), settings)),
        12: lambda: _beside(12, lambda: collision_row(written, find_hulls(case.path, written, engine), settings)),
        13: lambda: placement_row(written, case.longest_side, seen()),
        14: lambda: round_trip_row(written, case.path, case.round_trips),
        15: lambda: provenance_row(case.path, hashlib.sha256(case.data).hexdigest(), written.notes),
    }


def _on_atlas(number: int, written: Written, atlas: Atlas | None, measure: Callable[[Atlas], Row]) -> Row:
    """A row on UVs, which may be missing only where there is no material that needs them."""
    if atlas is not None:
        return measure(atlas)
    if written.materials is None:
        return unmeasured_row(number, f"there are no UVs, and no texture is read from {written.kind} files")
    return measured_row(number, {}, ["there are no UVs"])


def _beside(number: int, measure: Callable[[], Row]) -> Row:
    """A row on files beside the audited one, which fails where one of them is there and cannot be read."""
    try:
        return measure()
    except BadInput as error:
        return measured_row(number, {}, [str(error)])


def _format(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
