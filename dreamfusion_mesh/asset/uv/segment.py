"""The libraries that cut a surface into charts and flatten them, behind one contract, each run in a process of its own.

Neither can be interrupted: xatlas holds the GIL, and uvunwrap's `cancel` is not heeded inside a stage (a fan of 8,000 faces round one
vertex keeps it busy for minutes). The functions here run in those processes, so that this module imports no torch:
    in   vertices [V, 3] float64 of about unit extent, faces [F, 3] int64
    out  uvs [U, 2] float64 in one unit for all charts, face_uvs [F, 3] int64, chart [F] int64 (-1: the library left the face out)
Charts may come out mirrored, faces without area.
"""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.worker import WorkerFailed, run_worker

_PACK_SIZE = 1024  # texels; both libraries always pack, and what they pack is packed again


def segment(library: str, vertices: np.ndarray, faces: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uvs, face_uvs and chart by "xatlas" or "uvunwrap", which is killed after `seconds`, checked. Raises WorkerFailed, saying why."""
    answer = run_worker(_LIBRARIES[library], (vertices, faces), seconds, library)
    if not _valid(answer, len(faces)):
        raise WorkerFailed(f"{library} gave values out of range")
    uvs, face_uvs, chart = answer
    return uvs, face_uvs, chart


def _valid(answer: list[np.ndarray], count: int) -> bool:
    if [array.dtype for array in answer] != [np.float64, np.int64, np.int64]:
        return False
    uvs, face_uvs, chart = answer
    shapes = uvs.ndim == 2 and uvs.shape[1:] == (2,) and face_uvs.shape == (count, 3) and chart.shape == (count,)
    return bool(shapes and np.isfinite(uvs).all() and face_uvs.min() >= 0 and face_uvs.max() < len(uvs))


def by_xatlas(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See the module's text."""
    import xatlas

    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    atlas = xatlas.Atlas()
    atlas.add_mesh((vertices / (np.sqrt(areas.mean()) or 1.0)).astype(np.float32), faces.astype(np.uint32))  # drops faces of small area
    options, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    options.max_cost, options.roundness_weight = 1.0, 0.1  # measured: compact charts pack tighter, cheap ones stretch less
    options.max_iterations = 2  # more passes move the charts' borders, not their number
    packing.resolution, packing.padding = _PACK_SIZE, 0
    atlas.generate(options, packing)
    _, face_uvs, uvs = atlas[0]
    chart = np.full(len(faces), -1, dtype=np.int64)
    for index in range(atlas.get_mesh_chart_count(0)):
        chart[np.asarray(atlas.get_mesh_chart(0, index).faces, dtype=np.int64)] = index
    return uvs.astype(np.float64) * [atlas.width, atlas.height], face_uvs.astype(np.int64), chart


def by_uvunwrap(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See the module's text. Its page is lower than wide, and u and v are normalised apart."""
    import uvunwrap

    atlas = uvunwrap.generate([uvunwrap.Mesh(vertices, faces.astype(np.uint32))], page_size=_PACK_SIZE, padding=0, packing="fast")
    if atlas.page_count > 1:
        raise ValueError(f"{atlas.page_count} pages, expected one")
    found = atlas.meshes[0]
    face_uvs = np.asarray(found.indices, dtype=np.int64).reshape(-1, 3)
    uvs = np.asarray(found.uv, dtype=np.float64).reshape(-1, 2) * [atlas.width, atlas.height]
    return uvs, face_uvs, np.asarray(found.chart, dtype=np.int64)[face_uvs[:, 0]]


_LIBRARIES = {"xatlas": by_xatlas, "uvunwrap": by_uvunwrap}
