"""MeshLab's filters, where the settings ask for them: the one place that knows pymeshlab (GPL-3, extra [meshlab]).

It is run in a process of its own, so that nothing here is linked with it, and a filter that crashes or hangs takes no run with it. The
licence binds the program, not what is made with it: assets may be sold, so it is no matter of `commercial`.
"""

from __future__ import annotations

import importlib.util
import math
from importlib import metadata

import numpy as np
import torch

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.geometry.areas import face_areas
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.worker import WorkerFailed, run_worker

PACKAGE = "pymeshlab"
LICENCE = "GPL-3.0"
TERMS = (
    "pymeshlab is under the GNU GPL, version 3: a program that is passed on together with it has to be under the GPL too; "
    "meshes made with it are free of that and may be sold"
)
SECONDS = 120.0  # that a filter may take before its process is ended
_REMEDY = 'install it with: pip install "dreamfusion-mesh[meshlab]", or leave it out with --set mesh.repair=default --set mesh.remesh=none'
_FEATURE_DEGREES = 40.0  # edges with a sharper bend stay where they are in remeshing


class MeshlabFailed(Exception):
    """The filters ran out of time, crashed, or left no mesh; the text says which."""


def wants_meshlab(settings: MeshSettings) -> bool:
    """Whether the settings ask for pymeshlab at all."""
    return settings.repair == "meshlab" or settings.remesh == "isotropic"


def check_meshlab(settings: MeshSettings) -> None:
    """Raises BadInput where the settings ask for pymeshlab and it is not installed. Does not import it."""
    if wants_meshlab(settings) and importlib.util.find_spec(PACKAGE) is None:
        asked = "mesh.repair 'meshlab'" if settings.repair == "meshlab" else "mesh.remesh 'isotropic'"
        raise BadInput(f"{asked}: needs the package {PACKAGE}, which is not installed; {_REMEDY}")


def meshlab_notes(settings: MeshSettings) -> dict[str, str] | None:
    """What provenance records of pymeshlab: name, version, licence, terms; None where the settings do not ask for it."""
    if not wants_meshlab(settings):
        return None
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        version = "unknown"
    return {"name": PACKAGE, "version": version, "licence": LICENCE, "terms": TERMS}


def repaired(mesh: Mesh, seconds: float = SECONDS) -> Mesh:
    """The mesh, float64 on the CPU, after MeshLab's filters against duplicate, null and folded faces, T-vertices and non-manifold edges.

    They may leave openings and drop faces. Raises MeshlabFailed.
    """
    return _run(repair_filters, mesh, np.zeros(0), seconds)


def remeshed(mesh: Mesh, triangles: int, seconds: float = SECONDS) -> Mesh:
    """A closed mesh, float64 on the CPU, cut anew into about `triangles` nearly equilateral triangles; sharp edges stay.

    Source: isotropic explicit remeshing as MeshLab has it (Botsch & Kobbelt, "A remeshing approach to multiresolution modeling", 2004).
    Raises MeshlabFailed.
    """
    area = float(face_areas(mesh.vertices, mesh.faces).sum())
    return _run(remesh_filter, mesh, np.array([math.sqrt(4 * area / (math.sqrt(3) * triangles))]), seconds)


def _run(filters: object, mesh: Mesh, numbers: np.ndarray, seconds: float) -> Mesh:
    arrays = [mesh.vertices.numpy(), mesh.faces.numpy().astype(np.int32), numbers]
    try:
        vertices, faces = run_worker(filters, arrays, seconds, "MeshLab")  # type: ignore[arg-type]
    except WorkerFailed as error:
        raise MeshlabFailed(str(error)) from None
    if len(faces) == 0 or not np.isfinite(vertices).all():
        raise MeshlabFailed(f"MeshLab left {len(faces)} faces, or vertices that are not finite")
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces.astype(np.int64)))


def repair_filters(vertices: np.ndarray, faces: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In the worker's process: see `repaired`."""
    meshes = _opened(vertices, faces)
    meshes.meshing_remove_duplicate_vertices()
    meshes.meshing_remove_duplicate_faces()
    meshes.meshing_remove_null_faces()
    meshes.meshing_remove_folded_faces()
    meshes.meshing_remove_t_vertices()
    meshes.meshing_repair_non_manifold_edges(method="Remove Faces")
    meshes.meshing_repair_non_manifold_vertices()
    meshes.meshing_remove_unreferenced_vertices()
    return _left(meshes)


def remesh_filter(vertices: np.ndarray, faces: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In the worker's process: see `remeshed`; length [1] of the edges."""
    import pymeshlab

    meshes = _opened(vertices, faces)
    edge = pymeshlab.PureValue(float(length[0]))
    meshes.meshing_isotropic_explicit_remeshing(iterations=10, targetlen=edge, featuredeg=_FEATURE_DEGREES, checksurfdist=False)
    return _left(meshes)


def _opened(vertices: np.ndarray, faces: np.ndarray) -> object:
    import pymeshlab

    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.add_mesh(pymeshlab.Mesh(vertices, faces))
    return meshes


def _left(meshes: object) -> tuple[np.ndarray, np.ndarray]:
    mesh = meshes.current_mesh()  # type: ignore[attr-defined]
    return mesh.vertex_matrix(), mesh.face_matrix()
