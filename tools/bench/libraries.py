"""The libraries' own atlases, as they come: what `python -m tools.bench unwrap` compares with. Run in processes of their own."""

from __future__ import annotations

import numpy as np


def own_uvunwrap(vertices: np.ndarray, faces: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """UVs [U, 2] and face_uvs [F, 3] on one page of sizes[0] texels, sizes[1] free around each chart."""
    import uvunwrap

    size, padding = sizes.tolist()
    atlas = uvunwrap.generate([uvunwrap.Mesh(vertices, faces.astype(np.uint32))], page_size=size, padding=padding)
    found = atlas.meshes[0]
    uvs = np.asarray(found.uv, dtype=np.float64).reshape(-1, 2) * [atlas.width / size, atlas.height / size]
    return uvs, np.asarray(found.indices, dtype=np.int64).reshape(-1, 3)


def own_xatlas(vertices: np.ndarray, faces: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Likewise; its page is what it needs, and so the gaps shrink with it."""
    import xatlas

    size, padding = sizes.tolist()
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    options, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    packing.resolution, packing.padding = size, 2 * padding
    atlas.generate(options, packing)
    _, face_uvs, uvs = atlas[0]
    side = max(atlas.width, atlas.height)
    return uvs.astype(np.float64) * [atlas.width / side, atlas.height / side], face_uvs.astype(np.int64)
