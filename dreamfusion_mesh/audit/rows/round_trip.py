"""Row 14: do other programs read the same asset from the file?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dreamfusion_mesh.audit.read_back import ReadBack, RoundTrip
from dreamfusion_mesh.audit.readers.images import decode
from dreamfusion_mesh.audit.readers.written import Hull, Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.errors import BadInput

TOLERANCE = 1e-4  # of the diagonal, between bounds


def round_trip_row(written: Written, path: Path, round_trips: Mapping[str, RoundTrip]) -> Row:
    """Row 14: the file at `path` by every program of `round_trips`, against what the audit read."""
    expected, measured, problems, notes = as_read(written), dict[str, float | int | str](), list[str](), list[str]()
    without = [as_read(replace(written, levels=()))] if written.levels_apart else []
    for name, read in round_trips.items():
        try:
            found = read(path)
        except BadInput as error:
            measured[name] = "fails"
            problems.append(f"{name}: {error}")
            continue
        if isinstance(found, str):
            notes.append(f"{name} not asked: {found}")
            continue
        differences = min((differing(found, possible) for possible in (expected, *without)), key=len)
        measured[name] = "the same" if not differences else "differs"
        problems += [f"{name}: {difference}" for difference in differences]
    if not measured:
        return unmeasured_row(14, "; ".join(notes))
    figures: Figures = {"triangles": expected.triangles, **measured}
    return measured_row(14, figures, problems, "; ".join(notes))


def as_read(written: Written) -> ReadBack:
    """What the audit itself read, the levels and hulls in the file included."""
    surfaces: tuple[Written | Hull, ...] = (written, *written.levels, *written.hulls)
    parts = [(part.vertices, len(part.faces)) for part in surfaces]
    low = np.min([vertices.min(axis=0) for vertices, _ in parts], axis=0)
    high = np.max([vertices.max(axis=0) for vertices, _ in parts], axis=0)
    one = written.materials is not None and written.materials.count == 1  # of several, which row 7 fails, no maps are read
    materials = 1 if one and written.materials and written.materials.maps else None
    return ReadBack(sum(faces for _, faces in parts), materials, _textures(written) if one else None, np.stack([low, high]))


def _textures(written: Written) -> tuple[tuple[int, int], ...] | None:
    maps = written.materials.maps if written.materials else ()
    try:
        images = [decode(data, role) for role, data in {entry.key: (entry.role, entry.data) for entry in maps}.values()]
    except BadInput:  # which rows 1 and 7 tell
        return None
    return tuple(sorted({(image.width, image.height) for image in images}))


def differing(found: ReadBack, expected: ReadBack) -> list[str]:
    """What one program read otherwise; what either side does not tell is not compared."""
    problems = []
    if found.triangles != expected.triangles:
        problems.append(f"{found.triangles} triangles, the file has {expected.triangles}")
    if None not in (found.materials, expected.materials) and found.materials != expected.materials:
        problems.append(f"{found.materials} materials, the file has {expected.materials}")
    if found.textures is not None and expected.textures is not None and found.textures != expected.textures:
        problems.append(f"textures of {_sizes(found.textures)}, the file has {_sizes(expected.textures)}")
    diagonal = float(np.linalg.norm(expected.bounds[1] - expected.bounds[0]))
    if not np.abs(found.bounds - expected.bounds).max() <= TOLERANCE * diagonal:
        problems.append("other bounds")
    return problems


def _sizes(textures: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{width} x {height}" for width, height in textures) or "no size"
