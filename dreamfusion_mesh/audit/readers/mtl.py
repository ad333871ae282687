"""The materials of an OBJ: MTL libraries as exporters write them, and the maps of the one material in use. The files are not trusted.

Sources: Wavefront's MTL specification, https://paulbourke.net/dataformats/mtl/, and its PBR extension by Exocortex (map_Pr, map_Pm, norm).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dreamfusion_mesh.audit.readers.files import excerpt, read_bytes, sibling_path
from dreamfusion_mesh.audit.readers.written import Map, Materials, Part
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import is_file

MAX_TEXT_BYTES = 256 << 20  # of an OBJ or an MTL; a line takes some three microseconds
_MOST_LIBRARIES = 100
_ROLES = {
    "map_kd": "base color",
    "map_pr": "roughness",
    "map_pm": "metallic",
    "norm": "normal",
    "map_ke": "emissive",
    "map_bump": "bump",
    "bump": "bump",
}
_FACTORS = {"kd": "Kd", "pr": "Pr", "pm": "Pm"}
_OPTIONS = {"-blendu": 1, "-blendv": 1, "-bm": 1, "-boost": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2, "-texres": 1, "-type": 1}
_MOVES = ("-o", "-s", "-t")  # each with one to three numbers
_Placing = tuple[float, ...]  # offset u, v, scale u, v
_PLAIN: _Placing = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Paint:
    """The materials in use, how their maps are laid on the UVs (uv * scale + offset), and the parts of the file that are unread."""

    materials: Materials
    placing: _Placing = _PLAIN
    unread: Mapping[Part, str] = field(default_factory=dict)

    def apply(self, uvs: np.ndarray) -> np.ndarray:
        """UVs [..., 2] as the maps are laid on them."""
        return uvs if self.placing == _PLAIN else uvs * np.array(self.placing[2:]) + np.array(self.placing[:2])


@dataclass
class _Definition:
    """A material's keywords, each with what follows it; the last of a kind counts."""

    lines: dict[str, str] = field(default_factory=dict)


@dataclass
class _Texture:
    """A map as a line of text has it."""

    name: str
    placing: _Placing = _PLAIN
    changed: str = ""  # an option that changes its values or its place in a way that is not applied


def text_lines(data: bytes, name: str) -> Iterator[tuple[int, str]]:
    """Lines of text and the number of each: UTF-8 or Latin-1, any line ends, those that end with a backslash joined with the next.

    Raises BadInput where there are more than MAX_TEXT_BYTES.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise BadInput(f"{name}: {len(data)} bytes of text, more than the {MAX_TEXT_BYTES} that are read")
    try:
        data.decode("utf-8")
        encoding = "utf-8-sig"
    except UnicodeDecodeError:
        encoding = "latin-1"
    parts: list[str] = []
    for number, line in enumerate(io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline=None), start=1):
        if line.rstrip("\n").endswith("\\"):
            parts.append(line.rstrip("\n")[:-1])
        elif parts:
            yield number, " ".join((*parts, line))
            parts = []
        else:
            yield number, line
    if parts:
        yield number, " ".join(parts)


def statement(line: str) -> str:
    """What follows a line's keyword, without quotes around it."""
    _, _, rest = line.strip().partition(" ") if " " in line.strip() else line.strip().partition("\t")
    rest = rest.strip()
    return rest[1:-1] if len(rest) > 1 and rest[0] == rest[-1] and rest[0] in "\"'" else rest


def read_paint(libraries: list[str], used: list[str | None], path: Path) -> Paint:
    """The paint of an OBJ at `path`: the `mtllib` statements it has, and the materials its faces use (None: faces without one)."""
    count = 0 if used == [None] else len(used)
    problems, definitions = _definitions(libraries, path) if used != [None] else ([], {})
    for name in used:
        if name is not None and name not in definitions:
            problems.append(f"material {excerpt(name)} is in no library")
    if len(used) != 1 or used[0] not in definitions:
        return Paint(Materials(count, problems=tuple(problems)))
    lines = definitions[used[0]].lines
    textures = {keyword: _texture(text) for keyword, text in lines.items() if keyword in _ROLES}
    maps = list[Map]()
    for keyword, texture in textures.items():
        try:
            maps.append(Map(_ROLES[keyword], texture.name, read_bytes(sibling_path(texture.name, path.parent, keyword))))
        except BadInput as error:
            problems.append(f"{_ROLES[keyword]}: {error}")
    missing = tuple(factor for keyword, factor in _FACTORS.items() if keyword not in lines)
    laid = next(iter(textures[keyword].placing for keyword in ("map_kd", *textures) if keyword in textures), _PLAIN)
    return Paint(Materials(1, tuple(maps), missing, tuple(problems)), laid, _unread(textures, path.name))


def _unread(textures: dict[str, _Texture], name: str) -> dict[Part, str]:
    """The parts that options of the maps change in a way that is not applied."""
    found = dict[Part, str]()
    if len({texture.placing for texture in textures.values()}) > 1:
        found["uvs"] = f"{name}: its maps differ in the options -o and -s, and one layout is measured"
    for keyword, texture in textures.items():
        if texture.changed:
            found.setdefault(
                "uvs" if texture.changed == "-t" else "images", f"{name}: the option {texture.changed} of {keyword} is not applied"
            )
    return found


def _definitions(libraries: list[str], path: Path) -> tuple[list[str], dict[str | None, _Definition]]:
    """What is wrong with the libraries, and the materials that they define; the first definition of a name counts."""
    problems, found = list[str](), dict[str | None, _Definition]()
    names = list(dict.fromkeys(name for text in libraries[:_MOST_LIBRARIES] for name in _library_names(text, path.parent)))
    for name in names[:_MOST_LIBRARIES]:
        try:
            data = read_bytes(sibling_path(name, path.parent, "mtllib"))
            current = _Definition()
            for _, line in text_lines(data, name):
                keyword = line.split(maxsplit=1)[0].lower() if line.strip() else "#"
                if keyword == "newmtl":
                    current = _Definition()
                    found.setdefault(statement(line), current)
                elif not keyword.startswith("#"):
                    current.lines[keyword] = statement(line)
        except BadInput as error:
            problems.append(str(error))
    return problems, found


def _library_names(text: str, folder: Path) -> list[str]:
    """The files that a mtllib statement names: one with spaces in its name, or several, each up to its suffix."""
    text = text.replace("\\", "/")
    try:
        if is_file(sibling_path(text, folder, "mtllib")):
            return [text]
    except BadInput:  # told where it is read
        pass
    names = [name.strip().strip("\"'") for name in re.split(r"(?<=\.mtl)[\"']?\s+", text, flags=re.IGNORECASE)]
    return [name for name in names if name] if all(name.lower().endswith(".mtl") for name in names if name) else text.split()


def _texture(text: str) -> _Texture:
    """A map's file name and options, which may stand before or after it; the name may have spaces or quotes."""
    words = [(found.group(), found.start(), found.end()) for found in re.finditer(r"\S+", text)]
    offset, scale, changed = (0.0, 0.0), (1.0, 1.0), ""
    begin, end, at = -1, -1, 0
    while at < len(words):
        word = words[at][0].lower()
        if word in _MOVES:
            numbers = _numbers([other for other, _, _ in words[at + 1 : at + 4]])
            pair = [*numbers[:2], *((0.0, 1.0)[word == "-s"] for _ in range(2 - len(numbers[:2])))]
            offset = (pair[0], pair[1]) if word == "-o" else offset
            scale = (pair[0], pair[1]) if word == "-s" else scale
            changed = "-t" if word == "-t" and any(numbers) else changed
            at += 1 + len(numbers)
        elif word in _OPTIONS:
            values = [other for other, _, _ in words[at + 1 : at + 1 + _OPTIONS[word]]]
            changed = "-mm" if word == "-mm" and _numbers(values) != [0.0, 1.0] else changed
            at += 1 + _OPTIONS[word]
        else:
            begin, end = (words[at][1] if begin < 0 else begin), words[at][2]
            at += 1
    name = text[begin:end].strip().strip("\"'").replace("\\", "/") if begin >= 0 else ""
    return _Texture(name, (*offset, *scale), changed)


def _numbers(words: list[str]) -> list[float]:
    """The numbers that the words begin with; none that is not finite."""
    found = []
    for word in words:
        try:
            found.append(float(word))
        except ValueError:
            break
    return found if np.isfinite(found).all() else []
