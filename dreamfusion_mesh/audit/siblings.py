"""The files that belong to a delivered one: its levels of detail and its collision hulls, in it or beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dreamfusion_mesh.audit.readers.files import read_bytes, sibling_path
from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.audit.readers.written import Hull, Written
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import is_file

MAX_LEVELS = 16


@dataclass(frozen=True, eq=False)
class Level:
    """A level of detail: where it is, and what it is."""

    name: str
    written: Written


def find_levels(path: Path, written: Written, engine: str) -> list[Level]:
    """The levels below the surface itself, from the finest on: those in the file, else NAME_LOD1.glb, NAME_LOD2.glb ... beside it.

    Raises BadInput where one is there and cannot be read.
    """
    if written.levels:
        return [Level(f"level {number}", level) for number, level in enumerate(written.levels, start=1)]
    return [Level(name, _read(path, name, engine)) for name in _level_names(path)]


def find_hulls(path: Path, written: Written, engine: str) -> list[Hull]:
    """The collision hulls in the file, else those of NAME_collision.glb beside it. Raises BadInput where that cannot be read."""
    if written.hulls:
        return list(written.hulls)
    name = f"{path.stem}_collision.glb"
    if not is_file(path.parent / name):
        return []
    found = _read(path, name, engine)
    return list(found.hulls) or parts(found)


def parts(written: Written) -> list[Hull]:
    """The parts of a surface that are connected over edges of two faces, each as a hull: those that touch stay apart."""
    import trimesh

    mesh = trimesh.Trimesh(written.vertices, written.faces, process=False)
    part = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(written.faces))
    hulls = []
    for number, label in enumerate(np.unique(part), start=1):
        used, faces = np.unique(written.faces[part == label], return_inverse=True)
        hulls.append(Hull(f"part {number}", written.vertices[used], faces.reshape(-1, 3)))
    return hulls


def _level_names(path: Path) -> Iterator[str]:
    for number in range(1, MAX_LEVELS + 1):
        name = f"{path.stem}_LOD{number}.glb"
        if not is_file(path.parent / name):
            return
        yield name


def _read(path: Path, name: str, engine: str) -> Written:
    try:
        found = read_model(read_bytes(sibling_path(name, path.parent, path.name)), path.parent / name, engine)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None
    if found.unread:
        raise BadInput(f"{name}: {'; '.join(dict.fromkeys(found.unread.values()))}")
    return found
