"""The process that xatlas runs in: xatlas holds the GIL, reports no progress and cannot be interrupted, but a process can be killed.

Arrays come in and go out in numpy's own format, pickles refused:
    in   vertices [V, 3] float32, faces [F, 3] uint32
    out  uvs [U, 2] float64 in one unit for all charts, face_uvs [F, 3] int64, chart [F] int64 (-1: xatlas left the face out)
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import numpy as np

from dreamfusion_mesh.process import die_with_parent

_PACK_SIZE = 512  # texels; xatlas always packs, and what it packs is packed again


def chart(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a surface into charts and flatten each; see the module's text for the shapes."""
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


def encode(*arrays: np.ndarray) -> bytes:
    """Arrays one behind the other, in numpy's format."""
    buffer = io.BytesIO()
    for array in arrays:
        np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def decode(data: bytes, count: int) -> list[np.ndarray]:
    """The first `count` arrays of `encode`'s bytes. Raises ValueError or EOFError where they are not there."""
    buffer = io.BytesIO(data)
    return [np.load(buffer, allow_pickle=False) for _ in range(count)]


def main(parent: int) -> None:
    """Read from stdin, chart, write to stdout; nothing else may write there."""
    die_with_parent(parent)
    response: Any = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    vertices, faces = decode(sys.stdin.buffer.read(), 2)
    response.write(encode(*chart(vertices, faces)))
    response.close()
