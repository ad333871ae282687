"""Row 1: is it valid glTF? What the Khronos validator says, and nothing else."""

from __future__ import annotations

from pathlib import Path

from dreamfusion_mesh.audit.khronos import find_validator, khronos_report
from dreamfusion_mesh.audit.row import Row, measured_row, unmeasured_row
from dreamfusion_mesh.errors import BadInput

_MOST = 5  # problems that are named


def validity_row(path: Path) -> Row:
    """Row 1 of the glTF at `path`: it fails on the validator's errors and warnings, and is not measured where there is no validator.

    Raises BadInput where the environment names a validator that is not installed.
    """
    validator = find_validator()
    if validator is None:
        return unmeasured_row(1, "the Khronos validator was not found (npm install -g gltf-validator)")
    try:
        errors, warnings, texts = khronos_report(path, validator)
    except BadInput as error:  # a validator that gives no answer has not found the file valid
        return unmeasured_row(1, str(error))
    problems = list(dict.fromkeys(texts))[:_MOST]
    if errors + warnings and not problems:  # the validator lists a limited number of issues, hints among them
        problems = [f"{errors} errors and {warnings} warnings"]
    return measured_row(1, {"errors": errors, "warnings": warnings}, problems)
