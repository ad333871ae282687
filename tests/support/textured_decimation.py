"""MeshLab's decimation that keeps UVs: an independent level of detail, that ours are compared with."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamfusion_mesh.worker import run_worker


def decimated_with_uvs(
    vertices: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray, triangles: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3] float64, faces [F, 3] and corners' UVs [F, 3, 2] of about `triangles` triangles; skips where pymeshlab is missing.

    Quadric edge collapse in space and UV together (Garland & Heckbert, "Simplifying surfaces with color and texture using quadric error
    metrics", 1998), in a process of its own.
    """
    if importlib.util.find_spec("pymeshlab") is None:
        pytest.skip('no pymeshlab: pip install "dreamfusion-mesh[meshlab]"')
    arrays = [np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int32), np.asarray(corner_uvs, dtype=np.float64)]
    found, left, uvs = run_worker(collapse, [*arrays, np.array([triangles])], 300.0, "MeshLab")
    return found, left.astype(np.int64), uvs.reshape(-1, 3, 2)


def collapse(
    vertices: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In the worker's process."""
    import pymeshlab

    meshes = pymeshlab.MeshSet(verbose=False)
    corners = np.arange(1, 3 * len(faces) + 1).reshape(-1, 3)
    lines = ["mtllib any.mtl", *(f"v {x!r} {y!r} {z!r}" for x, y, z in vertices.tolist())]
    lines += [*(f"vt {u!r} {v!r}" for u, v in corner_uvs.reshape(-1, 2).tolist()), "usemtl any"]
    lines += [
        "f " + " ".join(f"{v}/{t}" for v, t in zip(*row, strict=True)) for row in zip((faces + 1).tolist(), corners.tolist(), strict=True)
    ]
    with tempfile.TemporaryDirectory() as name:  # UVs count only where a picture goes with them, and a file alone brings both
        folder = Path(name)
        Image.new("RGB", (4, 4)).save(folder / "any.png")
        (folder / "any.mtl").write_text("newmtl any\nmap_Kd any.png\n", encoding="utf-8")
        (folder / "any.obj").write_text("\n".join(lines) + "\n", encoding="utf-8")
        meshes.load_new_mesh(str(folder / "any.obj"))
    meshes.meshing_decimation_quadric_edge_collapse_with_texture(targetfacenum=int(triangles[0]), preserveboundary=True)
    mesh = meshes.current_mesh()
    return mesh.vertex_matrix(), mesh.face_matrix(), mesh.wedge_tex_coord_matrix()
