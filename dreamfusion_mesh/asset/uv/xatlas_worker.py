"""What runs in xatlas' own process (see worker.py): it holds the GIL, reports no progress and cannot be interrupted."""

from __future__ import annotations

import numpy as np

_PACK_SIZE = 512  # texels; xatlas always packs, and what it packs is packed again


def chart_surface(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a surface into charts and flatten each.

    vertices [V, 3] float32, faces [F, 3] uint32
    Gives uvs [U, 2] float64 in one unit for all charts, face_uvs [F, 3] int64, chart [F] int64 (-1: xatlas left the face out).
    """
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces)
    options, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    options.max_cost, options.roundness_weight = 1.0, 0.1  # measured: compact charts pack tighter, cheap ones stretch less
    options.max_iterations = 2  # more passes move the charts' borders, not their number
    packing.resolution, packing.padding = _PACK_SIZE, 0
    atlas.generate(options, packing)
    _, face_uvs, uvs = atlas[0]
    charts = np.full(len(faces), -1, dtype=np.int64)
    for index in range(atlas.get_mesh_chart_count(0)):
        charts[np.asarray(atlas.get_mesh_chart(0, index).faces, dtype=np.int64)] = index
    scale = np.array([atlas.width, atlas.height], dtype=np.float64)
    return uvs.astype(np.float64) * scale, face_uvs.astype(np.int64), charts
