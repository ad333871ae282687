"""Row 8: are the tangents those of MikkTSpace, and is the normal map one in that basis?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.angles import angles
from dreamfusion_mesh.audit.distance import has_area
from dreamfusion_mesh.audit.normal_map import NormalMapFigures, measure_normal_map
from dreamfusion_mesh.audit.readers.factors import NORMAL_SCALE
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.audit.texels import LARGEST_SIDE, texels_of
from dreamfusion_mesh.geometry.areas import uv_areas
from dreamfusion_mesh.geometry.tangents import corner_tangents
from dreamfusion_mesh.records import Mesh

UNIT_TOLERANCE = 1e-3  # of a tangent's length
MOST_DEGREES = 1.0  # from MikkTSpace's tangents, 99th percentile
MOST_BROKEN_TEXELS = 0.01  # of those in use, that hold no unit normal
WORSE_DEGREES = 1.0  # by which a normal map may be further from the refined surface than no map at all: what 8 bits round
NEARER_DEGREES = 0.25  # by which it may be nearer with its axes turned round, which is chance


@dataclass(frozen=True)
class TangentFigures:
    """How far a file's tangents are from MikkTSpace's.

    not_unit      corners whose tangent is not of length 1, or whose w is not +-1
    degrees       99th percentile of the angle, of corners whose face has UV area
    wrong_handed  of those, corners with the other w
    """

    not_unit: int
    degrees: float
    wrong_handed: int


def tangents_row(written: Written, reference: Mesh | None) -> Row:
    """Row 8; a normal map is compared with the `reference` where there is one. Without a normal map nothing needs tangents."""
    data = next((entry.data for entry in written.materials.maps if entry.role == "normal"), None) if written.materials else None
    if written.kind != "glTF":
        return unmeasured_row(8, f"no tangents are in a file of kind {written.kind}")
    if written.corner_tangents is None:
        if data is None:
            return unmeasured_row(8, "there is no normal map, and there are no tangents")
        return measured_row(8, {}, ["there is a normal map, and no TANGENT is written"])
    if written.corner_normals is None or written.corner_uvs is None:
        return measured_row(8, {}, ["there are tangents, and no " + ("normals" if written.corner_normals is None else "UVs")])
    found = measure_tangents(written, written.corner_normals, written.corner_tangents, written.corner_uvs)
    problems = [f"{found.not_unit} corners' tangents are not unit with w = +-1"] if found.not_unit else []
    if not found.degrees <= MOST_DEGREES:
        problems.append(f"tangents {found.degrees:.3g} degrees from MikkTSpace's (p99), at most {MOST_DEGREES:g}")
    problems += [f"{found.wrong_handed} corners' w has the wrong sign"] if found.wrong_handed else []
    measured: Figures = {"degrees from MikkTSpace p99": found.degrees, "wrong w": found.wrong_handed, "not unit": found.not_unit}
    if data is None:
        return measured_row(8, measured, problems, "there is no normal map")
    if not has_area(written.vertices, written.faces):
        return measured_row(8, measured, [*problems, "the surface has no area"])
    texels = texels_of(data, "normal")
    if max(texels.shape) > LARGEST_SIDE:
        return measured_row(8, measured, problems, f"normal map not measured: it has more than {LARGEST_SIDE} texels a side")
    more, wrong, note = _about_map(measure_normal_map(written, texels, reference, _normal_scale(written)))
    return measured_row(8, {**measured, **more}, [*problems, *wrong], note)


def measure_tangents(written: Written, normals: np.ndarray, tangents: np.ndarray, uvs: np.ndarray) -> TangentFigures:
    """Compare tangents [F, 3, 4] with those that MikkTSpace makes of the file's own normals [F, 3, 3] and UVs [F, 3, 2]."""
    wanted = corner_tangents(written.vertices[written.faces], normals, uvs).astype(np.float64)
    length = np.linalg.norm(tangents[..., :3], axis=2)
    not_unit = ~(np.abs(length - 1) <= UNIT_TOLERANCE) | (np.abs(tangents[..., 3]) != 1)
    clear = uv_areas(uvs) != 0
    if not clear.any():
        return TangentFigures(int(not_unit.sum()), 0.0, 0)
    apart = angles(tangents[clear, :, :3], wanted[clear, :, :3])
    wrong = int((tangents[clear, :, 3] != wanted[clear, :, 3]).sum())
    return TangentFigures(int(not_unit.sum()), float(np.percentile(apart, 99)), wrong)


def _normal_scale(written: Written) -> float:
    return written.materials.factors.get(NORMAL_SCALE, (1.0,))[0] if written.materials else 1.0


def _about_map(found: NormalMapFigures) -> tuple[Figures, list[str], str]:
    """A normal map's figures, what is wrong with it, and what was not measured."""
    measured: Figures = {"texels without a unit normal": found.broken}
    problems, notes = [], []
    if not found.broken <= MOST_BROKEN_TEXELS:
        problems.append(f"{found.broken:.1%} of the normal map's texels hold no unit normal, at most {MOST_BROKEN_TEXELS:.0%}")
    if found.plain is None or found.mapped is None or found.turned is None:
        return measured, problems, "normal map not compared: no refined mesh at hand"
    measured |= {"degrees from the refined surface": found.mapped, "without the map": found.plain}
    if not found.mapped <= found.plain + WORSE_DEGREES:
        problems.append(f"the normal map leads away from the refined surface: {found.mapped:.3g} degrees, {found.plain:.3g} without it")
    if found.turned < found.mapped - NEARER_DEGREES:
        problems.append(
            f"the normal map is of another basis: {found.turned:.3g} degrees away with its axes turned, {found.mapped:.3g} as it is"
        )
    if found.flat:
        measured |= {"flat texels": found.flat, "of them tilted": found.tilted}
        problems += [f"{found.tilted} texels of flat patches are not (128, 128, 255)"] if found.tilted else []
    else:
        notes.append("there is no flat patch")
    return measured, problems, "; ".join(notes)
