"""Row 13: does it stand on the ground, at the origin, as large as asked?"""

from __future__ import annotations

from dataclasses import replace

from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row
from dreamfusion_mesh.geometry.defects import Defects

TOLERANCE = 1e-4  # of the longest side


def placement_row(written: Written, longest_side: float | None, seen: Defects) -> Row:
    """Row 13; `longest_side` in metres, None where none was asked. What is `seen` below the largest part's base is told."""
    low, high = written.vertices.min(axis=0), written.vertices.max(axis=0)
    side = float((high - low).max())
    middle = (low + high) / 2
    problems = [f"{root} carries a transform" for root in written.transformed_roots]
    if not max(abs(middle[0]), abs(middle[2]), abs(low[1])) <= TOLERANCE * side:
        problems.append(f"pivot at x {middle[0]:.4g}, y {low[1]:.4g}, z {middle[2]:.4g} off the bottom centre")
    if longest_side is not None and not abs(side - longest_side) <= TOLERANCE * longest_side:
        problems.append(f"longest side {side:.6g}, asked {longest_side:g}")
    pivot: Figures = {"pivot x": float(middle[0]), "pivot y": float(low[1]), "pivot z": float(middle[2])}
    above = replace(seen, below_height=0.0).lines()
    notes = ["metres and +Y up by glTF's definition" if written.kind == "glTF" else f"{written.kind} states no units or axes"]
    notes += ["the front cannot be measured from a file", *(line for line in seen.lines() if line not in above)]
    return measured_row(13, {"longest side": side, **pivot, "below the base": seen.below_height}, problems, "; ".join(notes))
