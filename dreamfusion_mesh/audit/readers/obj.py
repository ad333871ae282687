"""An OBJ read back for the audit: triangles, UVs, normals and paint. The file is not trusted.

Source: Wavefront's OBJ specification, https://paulbourke.net/dataformats/obj/
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dreamfusion_mesh.audit.readers.files import MAX_TRIANGLES
from dreamfusion_mesh.audit.readers.mtl import read_paint, statement, text_lines
from dreamfusion_mesh.audit.readers.polygons import cut_polygons
from dreamfusion_mesh.audit.readers.written import Part, Written, from_corners
from dreamfusion_mesh.errors import BadInput

_OTHER_ELEMENTS = {"p": "points", "l": "lines", "curv": "curves", "curv2": "curves", "surf": "free-form surfaces"}


@dataclass
class _Contents:
    """What the lines hold: numbers in a row, and of each corner the rows of vertices, uvs and normals (-1: none)."""

    vertices: array[float] = field(default_factory=lambda: array("d"))
    uvs: array[float] = field(default_factory=lambda: array("d"))
    normals: array[float] = field(default_factory=lambda: array("d"))
    corners: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))  # corners of each face
    libraries: list[str] = field(default_factory=list)
    material: str | None = None
    used: dict[str | None, None] = field(default_factory=dict)  # materials of faces, in their order
    other: str = ""  # what it draws beside faces


def read_obj(data: bytes, path: Path) -> Written:
    """Polygons cut into triangles, their UVs and normals, and the maps of the one material in use. Raises BadInput naming the line."""
    contents = _Contents()
    for number, line in text_lines(data, path.name):
        words = line.split()
        if not words or words[0][0] == "#":
            continue
        try:
            _read_line(contents, words, line)
        except (ValueError, IndexError, OverflowError) as error:
            raise BadInput(f"{path.name}, line {number}: {line.strip()[:60]!r} cannot be read ({str(error)[:60]})") from None
        if len(contents.corners) > 9 * MAX_TRIANGLES:
            raise BadInput(f"{path.name}: more than the {MAX_TRIANGLES} triangles that are read")
    unread = dict[Part, str]()
    if contents.other:
        unread = dict.fromkeys(("surface", "uvs", "normals"), f"{path.name} draws {contents.other}, which are no part of a surface")
    elif not contents.sizes:
        raise BadInput(f"{path.name}: it has no faces")
    return _written(contents, path, unread)


def _written(contents: _Contents, path: Path, unread: dict[Part, str]) -> Written:
    vertices, uvs, normals = (
        np.array(values, dtype=np.float64).reshape(-1, width)
        for values, width in ((contents.vertices, 3), (contents.uvs, 2), (contents.normals, 3))
    )
    rows = np.array(contents.corners, dtype=np.int64).reshape(-1, 3)
    rows = rows[cut_polygons(vertices[rows[:, 0]], np.array(contents.sizes, dtype=np.int64), path.name)]
    paint = read_paint(contents.libraries, list(contents.used) or [None], path)
    corner_uvs = None if (rows[..., 1] < 0).any() else paint.apply(uvs[rows[..., 1]])
    try:
        written = from_corners("OBJ", vertices[rows[..., 0]], corner_uvs, paint.materials)
    except BadInput as error:
        raise BadInput(f"{path.name}: {error}") from None
    return replace(written, corner_normals=None if (rows[..., 2] < 0).any() else normals[rows[..., 2]], unread={**paint.unread, **unread})


def _read_line(contents: _Contents, words: list[str], line: str) -> None:
    match words[0]:
        case "v":
            contents.vertices.extend((float(words[1]), float(words[2]), float(words[3])))  # a weight or a colour may follow
        case "vt":
            contents.uvs.extend((float(words[1]), float(words[2]) if len(words) > 2 and words[2][0] != "#" else 0.0))
        case "vn":
            contents.normals.extend((float(words[1]), float(words[2]), float(words[3])))
        case "f" | "fo":
            _read_face(contents, words)
        case "mtllib":
            contents.libraries.append(statement(line))
        case "usemtl":
            contents.material = statement(line)
        case keyword if keyword in _OTHER_ELEMENTS:
            contents.other = contents.other or _OTHER_ELEMENTS[keyword]


def _read_face(contents: _Contents, words: list[str]) -> None:
    counts = (len(contents.vertices) // 3, len(contents.uvs) // 2, len(contents.normals) // 3)
    found: list[int] = []
    for word in words[1:]:
        if word[0] == "#":
            break
        parts = word.split("/")
        for i in range(3):
            found.append(_row(parts[i], counts[i]) if i < len(parts) and (parts[i] or not i) else -1)
    if len(found) < 9:
        raise ValueError("a face needs 3 corners")
    contents.corners.extend(found)
    contents.sizes.append(len(found) // 3)
    contents.used[contents.material] = None


def _row(word: str, count: int) -> int:
    index = int(word)
    row = index - 1 if index > 0 else count + index
    if index == 0 or not 0 <= row < count:
        raise ValueError(f"index {index} of {count}")
    return row
