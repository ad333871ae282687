"""Is the written file game-ready? Rows measured on the file itself, not on what the exporter believes; a table and JSON of them.

Row numbers and thresholds are those of the audit's list: 1 valid glTF, 2 sound surface, 3 budget, 4 UVs, 5 mip-safe gaps, 6 texel density,
7 PBR, 13 placement. A row passes, fails, or states why it is not measured.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamfusion_mesh.audit.atlas import measure_atlas
from dreamfusion_mesh.audit.readers.files import read_bytes
from dreamfusion_mesh.audit.readers.model import GLTF_SUFFIXES, SUFFIXES, read_model
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import PROPERTIES, Row, measured_row, unmeasured_row
from dreamfusion_mesh.audit.rows.budget import budget_row
from dreamfusion_mesh.audit.rows.gaps import gaps_row
from dreamfusion_mesh.audit.rows.pbr import pbr_row
from dreamfusion_mesh.audit.rows.placement import placement_row
from dreamfusion_mesh.audit.rows.soundness import soundness_row
from dreamfusion_mesh.audit.rows.texel_density import texel_density_row
from dreamfusion_mesh.audit.rows.uvs import uvs_row
from dreamfusion_mesh.audit.rows.validity import validity_row
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import check_path, shown
from dreamfusion_mesh.records import Mesh


@dataclass(frozen=True)
class Audit:
    """Every row of one file; `sha256` is the file's."""

    file: str
    sha256: str
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """No row fails."""
        return all(row.status != "fail" for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for json.dumps."""
        rows = [
            {"number": row.number, "property": row.property, "status": row.status, "measured": dict(row.measured), "detail": row.detail}
            for row in self.rows
        ]
        return {"file": self.file, "sha256": self.sha256, "passed": self.passed, "rows": rows}

    def table(self) -> str:
        """The rows as text, one a line, with what was measured and what is wrong."""
        lines = []
        for row in self.rows:
            figures = ", ".join(f"{name} {_format(value)}" for name, value in row.measured.items())
            text = "; ".join(part for part in (figures, row.detail) if part)
            lines.append(f"{row.number:>2}  {row.property:<14} {row.status:<12}  {text}")
        return "\n".join(lines)


def audit(path: Path, settings: AuditSettings, budget: int, longest_side: float | None = None, reference: Mesh | None = None) -> Audit:
    """Measure a file of one of SUFFIXES.

    budget        triangles allowed
    longest_side  asked size in metres; None where none was asked
    reference     the refined mesh in the file's own space (placed and scaled alike), for row 3's distance; None leaves that unmeasured
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
        written = read_model(data, path)
    except BadInput as error:
        if not is_gltf:
            raise
        rest = _unreadable_rows(str(error))
    else:
        rest = [soundness_row(written, settings), budget_row(written, settings, budget, reference), *_uv_rows(written, settings)]
        rest += [pbr_row(written), placement_row(written, longest_side)]
    return Audit(path.name, hashlib.sha256(data).hexdigest(), (valid, *rest))


def _unreadable_rows(why: str) -> list[Row]:
    """All rows but the first of a file that cannot be read: the second fails, so that no such file passes."""
    rest = [unmeasured_row(number, "the file cannot be read") for number in PROPERTIES if number > 2]
    return [measured_row(2, {}, [f"the file cannot be read: {why}"]), *rest]


def _uv_rows(written: Written, settings: AuditSettings) -> list[Row]:
    """Rows 4 to 6. UVs may be missing only where there is no material that needs them."""
    atlas = measure_atlas(written)
    if atlas is not None:
        return [uvs_row(atlas), gaps_row(atlas, settings), texel_density_row(atlas, settings)]
    if written.materials is None:
        return [unmeasured_row(number, f"there are no UVs, and no texture is read from {written.kind} files") for number in (4, 5, 6)]
    return [measured_row(number, {}, ["there are no UVs"]) for number in (4, 5, 6)]


def _format(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
