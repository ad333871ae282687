"""Any file that the audit measures, read by its suffix."""

from __future__ import annotations

from pathlib import Path

from dreamfusion_mesh.audit.readers.gltf import parse_gltf
from dreamfusion_mesh.audit.readers.obj import read_obj
from dreamfusion_mesh.audit.readers.scene import read_scene
from dreamfusion_mesh.audit.readers.trimesh_reader import KINDS, read_with_trimesh
from dreamfusion_mesh.audit.readers.written import Written

GLTF_SUFFIXES = (".glb", ".gltf")
SUFFIXES = (*GLTF_SUFFIXES, ".obj", *KINDS)


def read_model(data: bytes, path: Path, engine: str = "generic") -> Written:
    """The file `data` at `path`, of one of SUFFIXES; `engine` is the one by whose names a glTF's levels and hulls are known.

    Raises BadInput in one line where it cannot be read as a surface.
    """
    match path.suffix.lower():
        case ".glb" | ".gltf":
            return read_scene(parse_gltf(data, path.parent), engine)
        case ".obj":
            return read_obj(data, path)
        case _:
            return read_with_trimesh(data, path)
