"""Row 9: are the normals unit, one at each place of a seam, and on the faces' own side?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Row, measured_row, unmeasured_row
from dreamfusion_mesh.audit.seam_edges import seam_edges

UNIT_TOLERANCE = 1e-3  # of a normal's length: what 8-bit normals cannot keep either is another matter
SEAM_DEGREES = 0.1  # between the normals of both sides


@dataclass(frozen=True)
class NormalFigures:
    """What is wrong with the normals of a surface.

    not_unit      corners whose normal is not of length 1
    parted        seam edges whose two sides have different normals at an end
    largest_angle between both sides of a seam, degrees
    wrong_side    corners whose normal points behind the face and behind the surface there
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
            (found.wrong_side, "corners' normals point into the surface"),
        )
        if count
    ]
    note = "" if written.split_faces is not None else "there are no UVs, so no seams"
    measured = {"not unit": found.not_unit, "largest angle at a seam": found.largest_angle, "wrong side": found.wrong_side}
    return measured_row(9, measured, problems, note)


def measure_normals(written: Written, corner_normals: np.ndarray) -> NormalFigures:
    """Measure normals [F, 3, 3] on the faces that they are of."""
    normals = corner_normals.reshape(-1, 3)
    length = np.linalg.norm(normals, axis=1)
    unit = normals / np.where(length > 0, length, 1.0)[:, None]
    parted, largest = 0, 0.0
    if written.split_faces is not None and len(edges := seam_edges(written)):
        angle = angles(unit[edges.one], unit[edges.other])
        parted, largest = int((~(angle <= SEAM_DEGREES)).any(axis=1).sum()), float(angle.max())
    across, around = _geometric_normals(written)
    behind = (np.einsum("fci,fi->fc", unit.reshape(-1, 3, 3), across) < 0) & (
        np.einsum("fci,fci->fc", unit.reshape(-1, 3, 3), around[written.faces]) < 0
    )
    return NormalFigures(int((~(np.abs(length - 1) <= UNIT_TOLERANCE)).sum()), parted, largest, int(behind.sum()))


def angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[...] degrees between vectors [..., 3]; exact for small ones too."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other), axis=-1), (one * other).sum(axis=-1)))


def _geometric_normals(written: Written) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals [F, 3] of the faces, and [V, 3] the mean of the faces round each vertex, weighted by their angles, not made unit.

    Of its own, and not by geometry.normals: the exporter makes the file's normals with that.
    """
    size = np.ptp(written.vertices, axis=0).max()
    corners = ((written.vertices - written.vertices.mean(axis=0)) / (size if size > 0 else 1.0))[written.faces]
    ahead, back = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    across = np.cross(ahead[:, 0], back[:, 0])
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = across / np.where(length > 0, length, 1.0)
    weights = np.arctan2(np.linalg.norm(np.cross(ahead, back), axis=2), (ahead * back).sum(axis=2)).reshape(-1)
    shares = np.repeat(across, 3, axis=0) * weights[:, None]
    rows, count = written.faces.reshape(-1), len(written.vertices)
    return across, np.stack([np.bincount(rows, share, count) for share in shares.T], axis=1)
