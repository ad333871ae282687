"""What a program that is not ours reads from a file, and trimesh as the first of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.files import read_bytes, sibling_path
from dreamfusion_mesh.audit.readers.trimesh_reader import KINDS, no_remarks
from dreamfusion_mesh.errors import BadInput

@dataclass(frozen=True, eq=False)
class ReadBack:
    """One program's reading of a file.

    triangles  of everything in the scene
    materials  that the triangles use; None where the program does not tell
    textures   width and height of each distinct image in use, ascending; None where the program does not tell
    bounds     [2, 3] float64, the corners of the box round everything, in the file's own axes
    """

    triangles: int
    materials: int | None
    textures: tuple[tuple[int, int], ...] | None
    bounds: np.ndarray


RoundTrip = Callable[[Path], ReadBack | str]  # of the file at a path; text: why the program cannot be asked. Raises BadInput where it fails


def read_back_with_trimesh(path: Path) -> ReadBack | str:
    """trimesh's reading of a .glb, .gltf or .obj. Files that it names are read beside it and nowhere else."""
    import trimesh

    kind = path.suffix.lower().lstrip(".")
    if path.suffix.lower() in KINDS:
        return f"the audit itself reads {KINDS[path.suffix.lower()]} by trimesh"
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"), no_remarks():
            scene = trimesh.load_scene(io.BytesIO(read_bytes(path)), file_type=kind, process=False, resolver=_Beside(path))
            meshes = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]
            return ReadBack(sum(len(mesh.faces) for mesh in meshes), _materials(meshes), None, np.asarray(scene.bounds, np.float64))
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # trimesh raises whatever a broken file leads it to
        raise BadInput(f"trimesh: does not read it ({' '.join(str(error).split())[:120] or type(error).__name__})") from None


def _materials(meshes: list[Any]) -> int:
    found = {id(mesh.visual.material) for mesh in meshes if getattr(mesh.visual, "material", None) is not None}
    return len(found)
