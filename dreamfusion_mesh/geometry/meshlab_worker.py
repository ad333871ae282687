"""What runs in MeshLab's own process (see worker.py), which therefore imports little.

Vertices [V, 3] float64 and faces [F, 3] int32 come in and go out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_FEATURE_DEGREES = 40.0  # edges with a sharper bend stay where they are in remeshing


def repair(vertices: np.ndarray, faces: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See meshlab.repaired."""
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


def remesh(vertices: np.ndarray, faces: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See meshlab.remeshed; length [1] of the edges."""
    import pymeshlab

    meshes = _opened(vertices, faces)
    edge = pymeshlab.PureValue(float(length[0]))
    meshes.meshing_isotropic_explicit_remeshing(iterations=10, targetlen=edge, featuredeg=_FEATURE_DEGREES, checksurfdist=False)
    return _left(meshes)


def _opened(vertices: np.ndarray, faces: np.ndarray) -> Any:
    import pymeshlab

    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.add_mesh(pymeshlab.Mesh(vertices, faces))
    return meshes


def _left(meshes: Any) -> tuple[np.ndarray, np.ndarray]:
    mesh = meshes.current_mesh()
    return mesh.vertex_matrix(), mesh.face_matrix()
