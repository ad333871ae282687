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
from dreamfusion_mesh.geometry import meshlab_worker
from dreamfusion_mesh.geometry.areas import face_areas
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.worker import Work, WorkerFailed, run_worker

PACKAGE = "pymeshlab"
LICENCE = "GPL-3.0"
TERMS = (
    "pymeshlab is under the GNU GPL, version 3: a program that is passed on together with it has to be under the GPL too; "
    "meshes made with it are free of that and may be sold"
)
SECONDS = 120.0  # that a filter may take before its process is ended
REMEDY = 'pip install "dreamfusion-mesh[meshlab]"'
_WITHOUT = "leave it out with --set mesh.repair=default --set mesh.remesh=none"


class MeshlabFailed(Exception):
    """The filters ran out of time, crashed, or left no mesh; the text says which."""


def wants_meshlab(settings: MeshSettings) -> bool:
    """Whether the settings ask for pymeshlab at all."""
    return settings.repair == "meshlab" or settings.remesh == "isotropic"


def check_meshlab(settings: MeshSettings) -> None:
    """Raises BadInput where the settings ask for pymeshlab and it is not installed. Does not import it."""
    if wants_meshlab(settings) and importlib.util.find_spec(PACKAGE) is None:
        asked = "mesh.repair 'meshlab'" if settings.repair == "meshlab" else "mesh.remesh 'isotropic'"
        raise BadInput(f"{asked}: needs the package {PACKAGE}, which is not installed; install it with {REMEDY}, or {_WITHOUT}")


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
    return _run(meshlab_worker.repair, mesh, np.zeros(0), seconds)


def remeshed(mesh: Mesh, triangles: int, seconds: float = SECONDS) -> Mesh:
    """A closed mesh, float64 on the CPU, cut anew into about `triangles` nearly equilateral triangles; sharp edges stay.

    Source: isotropic explicit remeshing as MeshLab has it (Botsch & Kobbelt, "A remeshing approach to multiresolution modeling", 2004).
    Raises MeshlabFailed.
    """
    area = float(face_areas(mesh.vertices, mesh.faces).sum())
    return _run(meshlab_worker.remesh, mesh, np.array([math.sqrt(4 * area / (math.sqrt(3) * triangles))]), seconds)


def _run(filters: Work, mesh: Mesh, numbers: np.ndarray, seconds: float) -> Mesh:
    arrays = [mesh.vertices.numpy(), mesh.faces.numpy().astype(np.int32), numbers]
    try:
        vertices, faces = run_worker(filters, arrays, seconds, "MeshLab")
    except WorkerFailed as error:
        raise MeshlabFailed(str(error)) from None
    if len(faces) == 0 or not np.isfinite(vertices).all():
        raise MeshlabFailed(f"MeshLab left {len(faces)} faces, or vertices that are not finite")
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces.astype(np.int64)))
