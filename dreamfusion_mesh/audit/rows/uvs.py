"""Row 4: do the UVs lie in the square, unflipped, each texel under one face?"""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.audit.atlas import Atlas
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.geometry.areas import uv_areas

_WHOLE_SQUARE = 1.001  # more area than this, with what float32 rounds, cannot lie in the square without overlaps


def uvs_row(atlas: Atlas) -> Row:
    """Row 4."""
    found = atlas.layout
    measured: Figures = {"corners outside": found.outside, "flipped faces": found.flipped, "empty faces": found.empty}
    problems = [f"{count} {name}" for name, count in measured.items() if count]
    if found.outside and atlas.size is not None:
        return measured_row(4, measured, problems)
    if atlas.unmeasured:
        covered = float(np.abs(uv_areas(atlas.uvs)).sum())
        problems += [f"faces cover the square {covered:.4g} times over"] if not found.outside and covered > _WHOLE_SQUARE else []
        note = f"overlaps not measured: {atlas.unmeasured}"
        return measured_row(4, measured, problems, note) if problems else unmeasured_row(4, atlas.unmeasured)
    problems += [f"{atlas.overlapping} sub-texels are covered twice"] if atlas.overlapping else []
    return measured_row(4, {**measured, "covered twice": atlas.overlapping}, problems)
