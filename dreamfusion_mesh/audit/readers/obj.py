"""An OBJ and its MTL read back for the audit: triangles, UVs and maps. The files are not trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dreamfusion_mesh.audit.readers.files import MAX_TRIANGLES, read_bytes, sibling_path
from dreamfusion_mesh.audit.readers.written import Map, Materials, Written, from_corners
from dreamfusion_mesh.errors import BadInput

_ROLES = {"map_Kd": "base color", "map_Pr": "roughness", "map_Pm": "metallic", "norm": "normal", "map_Ke": "emissive"}
_FACTORS = ("Kd", "Pr", "Pm")


@dataclass
class _Contents:
    vertices: list[list[float]] = field(default_factory=list)
    uvs: list[list[float]] = field(default_factory=list)
    corners: list[tuple[int, int]] = field(default_factory=list)  # rows of vertices and uvs (-1: none), three a triangle
    library: str = ""
    materials: dict[str, None] = field(default_factory=dict)  # names, in their order


def read_obj(data: bytes, path: Path) -> Written:
    """Polygons (cut into fans), their UVs and the maps of the one material in use. Raises BadInput naming the line."""
    contents = _Contents()
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            _read_line(contents, words)
        except (ValueError, IndexError) as error:
            raise BadInput(f"{path.name}, line {number}: {line.strip()[:60]!r} cannot be read ({str(error)[:60]})") from None
        if len(contents.corners) > 3 * MAX_TRIANGLES:
            raise BadInput(f"{path.name}: more than the {MAX_TRIANGLES} triangles that are read")
    if not contents.corners:
        raise BadInput(f"{path.name}: it has no faces")
    rows = np.array(contents.corners)
    vertices, uvs = np.array(contents.vertices, dtype=np.float64), np.array(contents.uvs, dtype=np.float64)
    if not np.isfinite(vertices).all() or not np.isfinite(uvs).all():
        raise BadInput(f"{path.name}: has numbers that are not finite")
    corner_uvs = None if (rows[:, 1] < 0).any() else uvs[rows[:, 1]].reshape(-1, 3, 2)
    return from_corners("OBJ", vertices[rows[:, 0]].reshape(-1, 3, 3), corner_uvs, _materials(contents, path))


def _read_line(contents: _Contents, words: list[str]) -> None:
    match words[0]:
        case "v":
            contents.vertices.append([float(word) for word in (words[1], words[2], words[3])])
        case "vt":
            contents.uvs.append([float(word) for word in (words[1], words[2])])
        case "f":
            corners = [_corner(word, contents) for word in words[1:]]
            if len(corners) < 3:
                raise ValueError("a face needs 3 corners")
            for i in range(1, len(corners) - 1):
                contents.corners += [corners[0], corners[i], corners[i + 1]]
        case "mtllib":
            contents.library = " ".join(words[1:])
        case "usemtl":
            contents.materials[words[1]] = None


def _corner(word: str, contents: _Contents) -> tuple[int, int]:
    parts = word.split("/")
    return _row(parts[0], len(contents.vertices)), _row(parts[1], len(contents.uvs)) if len(parts) > 1 and parts[1] else -1


def _row(word: str, count: int) -> int:
    index = int(word)
    row = index - 1 if index > 0 else count + index
    if index == 0 or not 0 <= row < count:
        raise ValueError(f"index {index} of {count}")
    return row


def _materials(contents: _Contents, path: Path) -> Materials:
    if not contents.library or len(contents.materials) != 1:
        return Materials(len(contents.materials))
    text = read_bytes(sibling_path(contents.library, path.parent, "mtllib")).decode("utf-8", "replace")
    (used,) = contents.materials
    current, names, keywords = "", dict[str, str](), set[str]()
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["newmtl"]:
            current = " ".join(words[1:])
        elif words and current == used:
            keywords.add(words[0])
            if words[0] in _ROLES:
                names[words[0]] = words[-1]  # the last of a kind counts
    maps = [Map(_ROLES[kind], name, read_bytes(sibling_path(name, path.parent, kind))) for kind, name in names.items()]
    return Materials(1, tuple(maps), tuple(factor for factor in _FACTORS if factor not in keywords))
