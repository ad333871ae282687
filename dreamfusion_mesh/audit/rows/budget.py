"""Row 3: how many triangles and bytes, and how far from the refined mesh?"""

from __future__ import annotations

from dreamfusion_mesh.audit.distance import hausdorff
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.records import Mesh


def budget_row(
    written: Written, settings: AuditSettings, budget: int, reference: Mesh | None, length: int = 0, max_bytes: int | None = None
) -> Row:
    """Row 3: at most `budget` triangles, near the `reference` where there is one, and a glTF's `length` at most `max_bytes`."""
    triangles = len(written.faces)
    measured: Figures = {"triangles": triangles, "allowed": budget}
    problems = [f"{triangles} triangles, at most {budget}"] if triangles > budget else []
    if max_bytes is not None and written.kind == "glTF":  # the budget is that of the file with everything in it
        measured |= {"bytes": length, "bytes allowed": max_bytes}
        problems += [f"{length} bytes, at most {max_bytes}"] if length > max_bytes else []
    if reference is None:
        return measured_row(3, {**measured, "hausdorff": "not measured"}, problems, "hausdorff not measured: no refined mesh at hand")
    distance = hausdorff(written, reference)
    if not distance <= settings.hausdorff:
        problems.append(f"Hausdorff distance {distance:.3%} of the diagonal, at most {settings.hausdorff:.3%}")
    return measured_row(3, {**measured, "hausdorff": distance}, problems)
