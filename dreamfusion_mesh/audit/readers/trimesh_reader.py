"""PLY, STL and OFF read by trimesh for the audit. The files are not trusted.

Only these three of trimesh's loaders are used: they read bytes that are in memory already, follow no reference and unpack no archive.
What they accept without an error is checked here, before (what the file declares against its bytes) and after (nothing got lost).
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.files import MAX_TRIANGLES
from dreamfusion_mesh.audit.readers.written import Written, from_corners
from dreamfusion_mesh.errors import BadInput

KINDS = {".ply": "PLY", ".stl": "STL", ".off": "OFF"}
MAX_TEXT_BYTES = 64 << 20  # a file of text takes some thirty times as much memory while it is read
_MAX_HEADER = 1 << 16  # bytes of a PLY's header
_MAX_SOLIDS = 1000  # of a text STL; names are made unique one by one
_STL_HEADER, _STL_TRIANGLE = 84, 50  # bytes


def read_with_trimesh(data: bytes, path: Path) -> Written:
    """The triangles of a PLY, STL or OFF, polygons cut up, with a PLY's UVs; no materials. Raises BadInput in one line."""
    kind = KINDS[path.suffix.lower()]
    check = {"PLY": _check_ply, "STL": _check_stl, "OFF": _check_off}[kind]
    data = check(data, path.name)
    try:
        parts = _load(data, kind.lower())
        corners = np.concatenate([vertices[faces] for vertices, faces, _ in parts])
        uvs = [uv for _, _, uv in parts if uv is not None]
        found = from_corners(kind, corners, np.concatenate(uvs) if len(uvs) == len(parts) else None, None)
    except BadInput as error:
        raise BadInput(f"{path.name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # trimesh raises whatever a broken file leads it to; what is no ValueError tells of its code, not the file
        reason = " ".join(str(error).split())[:120] if isinstance(error, ValueError) else "it is malformed or cut short"
        raise BadInput(f"{path.name}: cannot be read as {kind} ({reason}); write it anew as binary PLY or STL of triangles") from None
    if kind == "STL" and _is_text_stl(data) and data.lower().count(b"vertex") != 3 * len(corners):
        raise BadInput(f"{path.name}: its vertex lines do not make {len(corners)} whole triangles; it is cut short or malformed")
    return found


def _load(data: bytes, kind: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Vertices [V, 3] float64, faces [F, 3] and corner UVs [F, 3, 2] of each part, checked."""
    import trimesh

    with warnings.catch_warnings(), np.errstate(all="ignore"), no_remarks():  # what is not finite is refused below
        warnings.filterwarnings("error", message="string or file could not be read to its end")  # numpy would drop the rest of a line
        scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, process=False, skip_materials=True)
    meshes = [mesh for mesh in scene.geometry.values() if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
    if not meshes:
        raise BadInput("it has no faces")
    if sum(len(mesh.faces) for mesh in meshes) > MAX_TRIANGLES:
        raise BadInput(f"more than the {MAX_TRIANGLES} triangles that are read")
    return [_part(mesh) for mesh in meshes]


@contextmanager
def no_remarks() -> Iterator[None]:
    """trimesh logs, with a traceback, what it leaves out of a file, such as normals: nothing that is used here, or it is checked."""
    log = logging.getLogger("trimesh")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _part(mesh: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    uv = getattr(mesh.visual, "uv", None)
    _check_ply_rows(mesh.metadata.get("_ply_raw", {}))
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise BadInput(f"face indices from {faces.min()} to {faces.max()}, with {len(vertices)} vertices")
    corner_uvs = None if uv is None else np.asarray(uv, dtype=np.float64)[faces]
    return vertices, faces, corner_uvs


def _check_ply_rows(elements: dict[str, Any]) -> None:
    """Every declared row was read, and the lists of a binary file are as long as the first, which is what trimesh reads them by."""
    for name in ("vertex", "face"):
        declared, rows = elements.get(name, {}).get("length", 0), elements.get(name, {}).get("data")
        columns = rows.values() if isinstance(rows, dict) else () if rows is None else (rows,)
        if any(len(column) != declared for column in columns):
            raise BadInput(f"declares {declared} rows of {name!r} and has fewer: it is cut short")
        for column in (rows[field] for field in rows.dtype.names) if isinstance(rows, np.ndarray) else ():
            lengths = column["f0"] if column.dtype.names else np.zeros(1)
            if (lengths != lengths[0]).any():
                raise BadInput(f"lists of {name!r} have different lengths, which binary PLY is not read with; write triangles")


def _check_ply(data: bytes, name: str) -> bytes:
    """The file, where its header ends, declares no more than can be there, and text has what each row declares."""
    header, end, _ = data[:_MAX_HEADER].partition(b"end_header")
    if not data.startswith(b"ply") or not end:
        raise BadInput(f"{name}: not a PLY: it does not begin with 'ply' and a header of at most {_MAX_HEADER} bytes")
    elements: list[tuple[str, int, list[bool]]] = []
    for line in header.decode("utf-8", "replace").splitlines():
        match line.split():
            case ["element", element, count] if re.fullmatch(r"\d{1,18}", count):
                elements.append((element, int(count), []))
            case ["property", kind, *_] if elements:
                elements[-1][2].append(kind == "list")
    rows = sum(count for _, count, _ in elements)
    if rows > len(data):
        raise BadInput(f"{name}: declares {rows} rows, and has {len(data)} bytes")
    if not re.search(rb"^\s*format\s+ascii", header, re.MULTILINE):
        return data
    data = _limited_text(data, name)
    _check_text_rows(data.partition(b"end_header")[2].decode().splitlines()[1:], elements, name)
    return data


def _check_text_rows(lines: list[str], elements: list[tuple[str, int, list[bool]]], name: str) -> None:
    """Each row of a text PLY has the numbers of its properties, of which True is a list that begins with its own length."""
    start = 0
    for element, count, properties in elements:
        for row in range(count if properties else 0):
            words = lines[start + row].split() if start + row < len(lines) else []
            needed = 0
            for is_list in properties:
                length = words[needed] if is_list and needed < len(words) else "0"
                needed += 1 + (int(length) if re.fullmatch(r"\d{1,9}", length) else len(words))
            if needed != len(words):
                raise BadInput(f"{name}: row {row} of {element!r} has {len(words)} numbers, which is not what its {count} rows declare")
        start += count


def _check_stl(data: bytes, name: str) -> bytes:
    """The file, where it is a whole binary STL or text."""
    if not _is_text_stl(data):
        triangles = int.from_bytes(data[80:84], "little")
        if len(data) != _STL_HEADER + _STL_TRIANGLE * triangles:
            expected = _STL_HEADER + _STL_TRIANGLE * triangles
            raise BadInput(f"{name}: not a text STL, and a binary one of {triangles} triangles has {expected} bytes, not {len(data)}")
        if triangles > MAX_TRIANGLES:
            raise BadInput(f"{name}: more than the {MAX_TRIANGLES} triangles that are read")
        return data
    if data.lower().count(b"endsolid") > _MAX_SOLIDS:
        raise BadInput(f"{name}: more than the {_MAX_SOLIDS} solids that are read")
    return _limited_text(data, name)


def _is_text_stl(data: bytes) -> bool:
    """Whether it is text: 'solid' at its beginning is not enough, since binary headers may have it too."""
    binary = len(data) >= _STL_HEADER and len(data) == _STL_HEADER + _STL_TRIANGLE * int.from_bytes(data[80:84], "little")
    return not binary and data.lstrip()[:5].lower() == b"solid"


def _check_off(data: bytes, name: str) -> bytes:
    """The file, where it has the lines that it declares and each face its corners."""
    data = _limited_text(data, name)
    lines = [line for line in (line.partition("#")[0].strip() for line in data.decode().splitlines()) if line]
    first = lines[0].partition("OFF")[2].strip() if lines else ""
    counts = first or (lines.pop(1) if len(lines) > 1 else "")
    try:
        vertices, faces = (int(word) for word in counts.split()[:2])
        rows = [[int(line.split()[0]), len(line.split())] for line in lines[1 + vertices : 1 + vertices + faces]]
    except (ValueError, IndexError):
        raise BadInput(f"{name}: not an OFF: expected 'OFF', then how many vertices and faces it has, then their lines") from None
    if min(vertices, faces) < 0 or len(rows) < faces:
        raise BadInput(f"{name}: declares {vertices} vertices and {faces} faces, and has {len(lines) - 1} lines")
    short = next((row for row, (corners, words) in enumerate(rows) if corners < 3 or words <= corners), None)
    if short is not None:
        raise BadInput(f"{name}: face {short} has {rows[short][1] - 1} corners and declares {rows[short][0]}, expected 3 or more of each")
    return data


def _limited_text(data: bytes, name: str) -> bytes:
    """The same text as UTF-8."""
    if len(data) > MAX_TEXT_BYTES:
        raise BadInput(f"{name}: {len(data)} bytes of text, more than the {MAX_TEXT_BYTES} that are read; write it as binary PLY or STL")
    return data.decode("utf-8", "replace").encode()
