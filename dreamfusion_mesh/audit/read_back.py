"""What a program that is not ours reads from a file, and trimesh as the first of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from dreamfusion_mesh.audit.readers.files import read_bytes, sibling_path
from dreamfusion_mesh.audit.readers.trimesh_reader import KINDS, no_remarks
from dreamfusion_mesh.errors import BadInput


@dataclass(frozen=True, eq=False)
class ReadBack:
    """One program's reading of a file.

    triangles  of everything in the scene
    materials  different ones that the triangles use, no material not counted; None where the program does not tell
    textures   the different widths and heights of images in use, ascending; None where the program does not tell
    bounds     [2, 3] float64, the corners of the box round everything, in the file's own axes
    """

    triangles: int
    materials: int | None
    textures: tuple[tuple[int, int], ...] | None
    bounds: np.ndarray


RoundTrip = Callable[[Path], ReadBack | str]  # of the file at a path; text: why the program cannot be asked. Raises BadInput where it fails


class _Beside:
    """What trimesh asks for the files that a model names: those beside the model, and no others."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str) -> bytes:
        return read_bytes(sibling_path(unquote(str(name)), self._path.parent, self._path.name))

    __getitem__ = get


def read_with_trimesh(path: Path) -> ReadBack | str:
    """trimesh's reading of a .glb, .gltf or .obj. Raises BadInput where it fails."""
    import trimesh

    suffix = path.suffix.lower()
    if suffix in KINDS:
        return f"the audit itself reads {KINDS[suffix]} by it"
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"), no_remarks():
            scene = trimesh.load_scene(io.BytesIO(read_bytes(path)), file_type=suffix[1:], process=False, resolver=_Beside(path))
            placed = [scene.geometry[scene.graph[node][1]] for node in scene.graph.nodes_geometry]
            meshes = [mesh for mesh in placed if isinstance(mesh, trimesh.Trimesh)]
            materials, textures = _materials(meshes), _textures(meshes) if suffix != ".obj" else None  # of an OBJ's it reads one
            return ReadBack(sum(len(mesh.faces) for mesh in meshes), materials, textures, np.array(scene.bounds, np.float64))
    except MemoryError:
        raise
    except Exception as error:  # trimesh raises whatever a broken file leads it to
        raise BadInput(f"does not read it ({' '.join(str(error).split())[:120] or type(error).__name__})") from None


def _materials(meshes: list[Any]) -> int:
    found = [getattr(mesh.visual, "material", None) for mesh in meshes]
    return len({id(material) for material in found if material is not None})


def _textures(meshes: list[Any]) -> tuple[tuple[int, int], ...]:
    slots = ("baseColorTexture", "metallicRoughnessTexture", "normalTexture", "occlusionTexture", "emissiveTexture")
    found = [getattr(getattr(mesh.visual, "material", None), slot, None) for mesh in meshes for slot in slots]
    return tuple(sorted({image.size for image in found if image is not None}))
