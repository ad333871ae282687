"""Row 9: are the normals unit, one at each place of a seam, and on the faces' own side?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.angles import angles, geometric_normals, unit
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.audit.seam_edges import seam_edges

UNIT_TOLERANCE = 1e-3  # of a normal's length: what 8-bit normals cannot keep either is another matter
SEAM_DEGREES = 0.1  # between the normals of both sides


@dataclass(frozen=True)
class NormalFigures:
    """What is wrong with the normals of a surface.

    not_unit       corners whose normal is not of length 1
    parted         seam edges whose two sides have different normals at an end
    largest_angle  between both sides of a seam, degrees
    wrong_side     corners whose normal points behind the face and behind the surface there
    """

    not_unit: int
    parted: int
    largest_angle: float
    wrong_side: int


def normals_row(written: Written) -> Row:
    """Row 9."""
    if written.corner_normals is None:
        if written.kind == "glTF":  # section 3.7.2.1: without normals, the faces are drawn flat
            return measured_row(9, {}, ["there are no normals: every face is drawn flat"])
        return unmeasured_row(9, f"no normals are in this {written.kind}")
    found = measure_normals(written, written.corner_normals)
    problems = [
        f"{count} {what}"
        for count, what in (
            (found.not_unit, "corners' normals are not unit"),
            (found.parted, f"seam edges part the normals, by up to {found.largest_angle:.3g} degrees"),
            (found.wrong_side, "corners' normals are on the wrong side: they point into it"),
        )
        if count
    ]
    note = "" if written.split_faces is not None else "there are no UVs, so no seams"
    measured: Figures = {"not unit": found.not_unit, "largest angle at a seam": found.largest_angle, "wrong side": found.wrong_side}
    return measured_row(9, measured, problems, note)


def measure_normals(written: Written, corner_normals: np.ndarray) -> NormalFigures:
    """Measure normals [F, 3, 3] on the faces that they are of."""
    normals = corner_normals.reshape(-1, 3)
    length, directions = np.linalg.norm(normals, axis=1), unit(normals)
    parted, largest = 0, 0.0
    if written.split_faces is not None and len(edges := seam_edges(written)):
        angle = angles(directions[edges.one], directions[edges.other])
        parted, largest = int((~(angle <= SEAM_DEGREES)).any(axis=1).sum()), float(angle.max())
    across, around = geometric_normals(written.vertices, written.faces)
    sides = (across[:, None], around[written.faces])
    behind_face, behind_surface = ((directions.reshape(-1, 3, 3) * side).sum(axis=2) < 0 for side in sides)
    return NormalFigures(int((~(np.abs(length - 1) <= UNIT_TOLERANCE)).sum()), parted, largest, int((behind_face & behind_surface).sum()))
