"""An OBJ and its MTL read back for the audit: triangles, UVs and maps. The files are not trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dreamfusion_mesh.audit.readers.gltf import beside, read_bytes
from dreamfusion_mesh.audit.readers.written import MOST_TRIANGLES, Map, Written, weld
from dreamfusion_mesh.errors import BadInput

_ROLES = {"map_Kd": "base color", "map_Pr": "roughness", "map_Pm": "metallic", "norm": "normal", "map_Ke": "emissive"}
_FACTORS = ("Kd", "Pr", "Pm")


@dataclass
class _Lines:
    vertices: list[list[float]] = field(default_factory=list)
    uvs: list[list[float]] = field(default_factory=list)
    corners: list[tuple[int, int]] = field(default_factory=list)  # rows of vertices and uvs (-1: none), three a triangle
    library: str = ""
    materials: list[str] = field(default_factory=list)


def from_obj(data: bytes, path: Path) -> Written:
    """Polygons (cut into fans), their UVs and the maps of the one material in use. Raises BadInput naming the line."""
    lines = _Lines()
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            _read_line(lines, words)
        except (ValueError, IndexError) as error:
            raise BadInput(f"{path.name}, line {number}: {line.strip()[:60]!r} cannot be read ({str(error)[:60]})") from None
        if len(lines.corners) > 3 * MOST_TRIANGLES:
            raise BadInput(f"{path.name}: more than the {MOST_TRIANGLES} triangles that are read")
    if not lines.corners:
        raise BadInput(f"{path.name}: it has no faces")
    rows = np.array(lines.corners)
    vertices, uvs = np.array(lines.vertices, dtype=np.float64), np.array(lines.uvs, dtype=np.float64)
    if not np.isfinite(vertices).all() or not np.isfinite(uvs).all():
        raise BadInput(f"{path.name}: has numbers that are not finite")
    maps, missing = _material(lines, path)
    corner_uvs = None if (rows[:, 1] < 0).any() else uvs[rows[:, 1]].reshape(-1, 3, 2)
    return weld(vertices[rows[:, 0]].reshape(-1, 3, 3), corner_uvs, maps, len(lines.materials), missing, ())


def _read_line(lines: _Lines, words: list[str]) -> None:
    match words[0]:
        case "v":
            lines.vertices.append([float(word) for word in (words[1], words[2], words[3])])
        case "vt":
            lines.uvs.append([float(word) for word in (words[1], words[2])])
        case "f":
            corners = [_corner(word, lines) for word in words[1:]]
            if len(corners) < 3:
                raise ValueError("a face needs 3 corners")
            for i in range(1, len(corners) - 1):
                lines.corners += [corners[0], corners[i], corners[i + 1]]
        case "mtllib":
            lines.library = " ".join(words[1:])
        case "usemtl" if words[1] not in lines.materials:
            lines.materials.append(words[1])


def _corner(word: str, lines: _Lines) -> tuple[int, int]:
    parts = word.split("/")
    return _row(parts[0], len(lines.vertices)), _row(parts[1], len(lines.uvs)) if len(parts) > 1 and parts[1] else -1


def _row(word: str, count: int) -> int:
    index = int(word)
    row = index - 1 if index > 0 else count + index
    if index == 0 or not 0 <= row < count:
        raise ValueError(f"index {index} of {count}")
    return row


def _material(lines: _Lines, path: Path) -> tuple[tuple[Map, ...], tuple[str, ...]]:
    if not lines.library or len(lines.materials) != 1:
        return (), ()
    text = read_bytes(beside(lines.library, path.parent, "mtllib")).decode("utf-8", "replace")
    current, maps, said = "", [], set[str]()
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["newmtl"]:
            current = " ".join(words[1:])
        elif words and current == lines.materials[0]:
            said.add(words[0])
            if words[0] in _ROLES:
                maps.append(Map(_ROLES[words[0]], words[-1], read_bytes(beside(words[-1], path.parent, words[0]))))
    return tuple(maps), tuple(factor for factor in _FACTORS if factor not in said)
