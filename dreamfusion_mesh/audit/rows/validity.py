"""Row 1: is it valid glTF, by our own checks and, where it is installed, by the Khronos validator?"""

from __future__ import annotations

from pathlib import Path

from dreamfusion_mesh.audit.khronos import find_validator, khronos_report
from dreamfusion_mesh.audit.readers.gltf import Gltf, parse_gltf
from dreamfusion_mesh.audit.readers.scene import read_scene
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row
from dreamfusion_mesh.audit.structure import structure_problems
from dreamfusion_mesh.errors import BadInput


def validity_row(data: bytes, path: Path) -> tuple[Row, Written | None]:
    """Row 1 of a glTF, and its surface where that can be read at all. Raises BadInput where a named validator is not installed."""
    gltf, written, problems = _read(data, path)
    measured: Figures = {"problems": len(problems)}
    validator = find_validator()
    if validator is None or gltf is None:
        note = "own checks alone; the Khronos validator was " + ("not asked" if validator else "not found")
        return measured_row(1, measured, problems, note), written
    try:
        errors, warnings, texts = khronos_report(path, validator)
        measured |= {"errors": errors, "warnings": warnings}
        problems += [f"Khronos: {text}" for text in texts[:5]]
    except BadInput as error:  # a validator that gives no answer has not found the file valid
        problems.append(str(error))
    return measured_row(1, measured, list(dict.fromkeys(problems)), "own checks and the Khronos validator"), written


def _read(data: bytes, path: Path) -> tuple[Gltf | None, Written | None, list[str]]:
    gltf: Gltf | None = None
    written: Written | None = None
    try:
        gltf = parse_gltf(data, path.parent)
        problems = structure_problems(gltf)
        written = read_scene(gltf)
    except BadInput as error:
        problems = [*(structure_problems(gltf) if gltf else ()), str(error)]
    return gltf, written, list(dict.fromkeys(problems))
