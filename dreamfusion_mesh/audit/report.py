"""Is the written file game-ready? Rows measured on the file itself, not on what the exporter believes; a table and JSON of them.

Row numbers and thresholds are those of the audit's list: 1 valid glTF, 2 sound surface, 3 budget, 4 UVs, 5 mip-safe gaps, 6 texel density,
7 PBR, 13 placement. A row passes, fails, or says why it is not measured.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dreamfusion_mesh.audit.maps import decode, map_problems
from dreamfusion_mesh.audit.readers.gltf import Gltf, parse_gltf, read_bytes
from dreamfusion_mesh.audit.readers.obj import from_obj
from dreamfusion_mesh.audit.readers.written import Written, from_gltf
from dreamfusion_mesh.audit.solid import bounds, hausdorff, soundness
from dreamfusion_mesh.audit.uvs import chart_labels, coverage, density_ratio, gaps, layout
from dreamfusion_mesh.audit.validity import find_validator, khronos_report, structure_problems
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Mesh

PROPERTIES = {
    1: "valid glTF",
    2: "sound surface",
    3: "budget",
    4: "UVs",
    5: "mip-safe gaps",
    6: "texel density",
    7: "PBR",
    13: "placement",
}
SUBTEXELS = 4  # coverage is counted at this many samples a texel's side
PLACED = 1e-4  # of the longest side

Status = Literal["pass", "fail", "not measured"]


@dataclass(frozen=True)
class Row:
    """One property: what was found, in figures and in words. `detail` says what is wrong, or what was not measured and why."""

    number: int
    property: str
    status: Status
    measured: dict[str, float | int | str]
    detail: str


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
            figures = ", ".join(f"{name} {_shown(value)}" for name, value in row.measured.items())
            said = "; ".join(part for part in (figures, row.detail) if part)
            lines.append(f"{row.number:>2}  {row.property:<14} {row.status:<12}  {said}")
        return "\n".join(lines)


def audit(path: Path, settings: AuditSettings, budget: int, longest_side: float | None = None, reference: Mesh | None = None) -> Audit:
    """Measure a .glb, .gltf or .obj.

    budget        triangles allowed
    longest_side  asked size in metres; None where none was asked
    reference     the refined mesh in the file's own space (placed and scaled alike), for row 3's distance; None leaves that unmeasured
    Raises BadInput where the file is missing, unreadable or of another kind. A file that is there but broken fails row 1, and the
    other rows say that they could not be measured.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".glb", ".gltf", ".obj"):
        raise BadInput(f"{path}: expected a .glb, .gltf or .obj file")
    data = read_bytes(path)
    valid, written = _read_obj(data, path) if kind == ".obj" else _read_gltf(data, path)
    rows = [valid]
    if written is None:
        rows += [Row(number, name, "not measured", {}, "the file cannot be read") for number, name in PROPERTIES.items() if number != 1]
    else:
        rows += [_sound(written, settings), _budget(written, settings, budget, reference)]
        rows += [*_uv_rows(written, settings), _pbr(written), _placement(written, longest_side, kind)]
    return Audit(path.name, hashlib.sha256(data).hexdigest(), tuple(rows))


def _row(number: int, measured: dict[str, float | int | str], problems: Sequence[str], note: str = "") -> Row:
    detail = "; ".join([*problems, note] if note else problems)
    plain = {name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in measured.items()}
    return Row(number, PROPERTIES[number], "fail" if problems else "pass", plain, detail)


def _unmeasured(number: int, why: str) -> Row:
    return Row(number, PROPERTIES[number], "not measured", {}, f"not measured: {why}")


def _read_gltf(data: bytes, path: Path) -> tuple[Row, Written | None]:
    """Row 1, and the surface where it can be read at all."""
    gltf: Gltf | None = None
    written: Written | None = None
    try:
        gltf = parse_gltf(data, path.parent)
        problems = structure_problems(gltf)
        written = from_gltf(gltf)
    except BadInput as error:
        problems = [*(structure_problems(gltf) if gltf else ()), str(error)]
    measured: dict[str, float | int | str] = {"problems": len(dict.fromkeys(problems))}
    validator = find_validator()
    if validator is None or gltf is None:
        note = "own checks alone; the Khronos validator was " + ("not asked" if validator else "not found")
        return _row(1, measured, list(dict.fromkeys(problems)), note), written
    try:
        errors, warnings, texts = khronos_report(path, validator)
        measured |= {"errors": errors, "warnings": warnings}
        problems += [f"Khronos: {text}" for text in texts[:5]]
    except BadInput as error:  # a validator that gives no answer has not found the file valid
        problems.append(str(error))
    return _row(1, measured, list(dict.fromkeys(problems)), "own checks and the Khronos validator"), written


def _read_obj(data: bytes, path: Path) -> tuple[Row, Written]:
    return _unmeasured(1, "an OBJ, not glTF"), from_obj(data, path)


def _sound(written: Written, settings: AuditSettings) -> Row:
    found = soundness(written.vertices, written.faces)
    counts: dict[str, float | int | str] = {
        "non-manifold edges": found.non_manifold_edges,
        "open edges": found.open_edges,
        "inconsistent edges": found.inconsistent_edges,
        "degenerate faces": found.degenerate_faces,
        "duplicate faces": found.duplicate_faces,
        "inward shells": found.inward_shells,
    }
    problems = [f"{count} {name}" for name, count in counts.items() if count]
    if found.smallest_share < settings.smallest_shell:
        problems.append(f"a shell has {found.smallest_share:.3%} of the faces, at least {settings.smallest_shell:.3%}")
    figures = {"shells": found.shells, "smallest shell": found.smallest_share, "smallest volume": found.smallest_volume}
    return _row(2, {**counts, **figures}, problems)


def _budget(written: Written, settings: AuditSettings, budget: int, reference: Mesh | None) -> Row:
    triangles = len(written.faces)
    measured: dict[str, float | int | str] = {"triangles": triangles, "allowed": budget}
    problems = [f"{triangles} triangles, at most {budget}"] if triangles > budget else []
    if reference is None:
        return _row(3, {**measured, "hausdorff": "not measured"}, problems, "hausdorff not measured: no refined mesh at hand")
    distance = hausdorff(written, reference)
    if not distance <= settings.hausdorff:
        problems.append(f"Hausdorff distance {distance:.3%} of the diagonal, at most {settings.hausdorff:.3%}")
    return _row(3, {**measured, "hausdorff": distance}, problems)


def _uv_rows(written: Written, settings: AuditSettings) -> list[Row]:
    """Rows 4 to 6."""
    uvs, charts_by = written.corner_uvs, written.charts_by
    if uvs is None or charts_by is None:
        return [Row(number, PROPERTIES[number], "fail", {}, "there are no UVs") for number in (4, 5, 6)]
    found = layout(uvs)
    measured: dict[str, float | int | str] = {"corners outside": found.outside, "flipped faces": found.flipped, "empty faces": found.empty}
    problems = [f"{count} {name}" for name, count in measured.items() if count]
    size, why = _texture_size(written)
    if size is None:
        row = _row(4, measured, problems, f"overlaps not measured: {why}") if problems else _unmeasured(4, why)
        return [row, _unmeasured(5, why), _unmeasured(6, why)]
    if found.outside:
        return [_row(4, measured, problems), *(_unmeasured(number, "UVs leave the square") for number in (5, 6))]
    covered, again = coverage(uvs, SUBTEXELS * size)
    problems += [f"{again} sub-texels are covered twice"] if again else []
    rows = [_row(4, {**measured, "covered twice": again}, problems)]
    return [*rows, _gaps(uvs, charts_by, size, settings), _density(written, uvs, covered / (SUBTEXELS * size) ** 2, settings)]


def _texture_size(written: Written) -> tuple[int | None, str]:
    """Texels a side of the base colour, or why there is no such number."""
    if written.materials > 1:
        return None, f"{written.materials} materials, and UVs are measured on one"
    color = [entry for entry in written.maps if entry.role == "base color"]
    try:
        picture = decode(color[0].data, "base color") if color else None
    except BadInput as error:
        return None, str(error)
    return (max(picture.width, picture.height), "") if picture else (None, "no base color texture gives a size")


def _gaps(uvs: np.ndarray, charts_by: np.ndarray, size: int, settings: AuditSettings) -> Row:
    mip = max(1, int(math.log2(size)) - 8) if settings.mip == "auto" else settings.mip
    wanted = 2 * 2**mip
    found = gaps(uvs, chart_labels(charts_by), size, settings.narrow_texels)
    share = found.narrow / found.charts
    problems = []
    if found.gap < wanted:
        problems.append(f"charts {found.gap} texels apart, at least {wanted} (mip {mip})")
    if share > settings.narrow_charts:
        narrow = f"narrower than {settings.narrow_texels:g} texels"
        problems.append(f"{share:.1%} of the charts are {narrow}, at most {settings.narrow_charts:.1%}")
    return _row(5, {"charts": found.charts, "smallest gap": found.gap, "mip": mip, "narrow charts": share}, problems)


def _density(written: Written, uvs: np.ndarray, utilisation: float, settings: AuditSettings) -> Row:
    ratio = density_ratio(written.vertices[written.faces], uvs)
    problems = []
    if not ratio <= settings.density_ratio:
        problems.append(f"texel density p95/p5 {ratio:.3g}, at most {settings.density_ratio:g}")
    if utilisation < settings.utilisation:
        problems.append(f"{utilisation:.1%} of the square is used, at least {settings.utilisation:.1%}")
    return _row(6, {"p95/p5": ratio, "utilisation": utilisation}, problems)


def _pbr(written: Written) -> Row:
    if written.materials != 1:
        return _row(7, {"materials": written.materials}, [f"{written.materials} materials, expected 1"])
    problems, pictures = map_problems(written.maps)
    problems += [f"{factor} is not written out" for factor in written.missing_factors]
    measured: dict[str, float | int | str] = {role: f"{picture.width} x {picture.height}" for role, picture in pictures.items()}
    return _row(7, measured, problems)


def _placement(written: Written, longest_side: float | None, kind: str) -> Row:
    low, high = bounds(written.vertices)
    side = float((high - low).max())
    middle = (low + high) / 2
    problems = [f"{root} carries a transform" for root in written.moved]
    if not max(abs(middle[0]), abs(middle[2]), abs(low[1])) <= PLACED * side:
        problems.append(f"pivot at x {middle[0]:.4g}, y {low[1]:.4g}, z {middle[2]:.4g} off the bottom centre")
    if longest_side is not None and not abs(side - longest_side) <= PLACED * longest_side:
        problems.append(f"longest side {side:.6g}, asked {longest_side:g}")
    pivot = {"pivot x": float(middle[0]), "pivot y": float(low[1]), "pivot z": float(middle[2])}
    units = "OBJ states no units or axes" if kind == ".obj" else "metres and +Y up by glTF's definition"
    return _row(13, {"longest side": side, **pivot}, problems, f"{units}; the front cannot be measured from a file")


def _shown(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
