"""Row 4: do the UVs lie in the square, unflipped, each texel under one face?"""

from __future__ import annotations

from dreamfusion_mesh.audit.atlas import Atlas
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row


def uvs_row(atlas: Atlas) -> Row:
    """Row 4."""
    found = atlas.layout
    measured: Figures = {"corners outside": found.outside, "flipped faces": found.flipped, "empty faces": found.empty}
    problems = [f"{count} {name}" for name, count in measured.items() if count]
    if atlas.size is None:
        note = f"overlaps not measured: {atlas.unmeasured}"
        return measured_row(4, measured, problems, note) if problems else unmeasured_row(4, atlas.unmeasured)
    if found.outside:
        return measured_row(4, measured, problems)
    problems += [f"{atlas.overlapping} sub-texels are covered twice"] if atlas.overlapping else []
    return measured_row(4, {**measured, "covered twice": atlas.overlapping}, problems)
