"""What tidying and decimation share: meshes to manifold3d and back, and rounding to float32 without new faults.

Everything is float64 on the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamfusion_mesh.geometry.soundness import degenerate
from dreamfusion_mesh.geometry.topology import unique_rows
from dreamfusion_mesh.records import Mesh

_SEPARATION = 1e-5  # of the diagonal: how far coinciding vertices are moved apart at first


def try_manifold(mesh: Mesh) -> Any | None:
    """The mesh as a manifold3d.Manifold, which parts non-manifold edges; None where its edges do not pair up."""
    import manifold3d

    arrays = manifold3d.Mesh64(mesh.vertices.numpy().copy(), mesh.faces.numpy().astype(np.uint64))
    solid = manifold3d.Manifold(arrays)
    return solid if solid.status() == manifold3d.Error.NoError and not solid.is_empty() else None


def from_manifold(solid: Any) -> Mesh:
    """A manifold3d.Manifold as a mesh."""
    arrays = solid.to_mesh64()
    vertices, faces = np.array(arrays.vert_properties[:, :3]), np.array(arrays.tri_verts).astype(np.int64)
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))


def neighbor_offsets(vertices: Tensor, faces: Tensor) -> Tensor:
    """[V, 3] from each vertex to the mean of its neighbours, on a closed mesh."""
    start, end = faces.reshape(-1), faces.roll(-1, dims=1).reshape(-1)
    total = torch.zeros_like(vertices).index_add_(0, start, vertices[end] - vertices[start])
    return total / start.bincount(minlength=len(vertices)).clamp_min(1)[:, None]


def rounded(mesh: Mesh, dtype: torch.dtype) -> Mesh:
    """The mesh in `dtype`, without new faults where that is float32.

    Vertices that would coincide in float32, and corners of faces that would be flat, first move a little towards their neighbours: each
    time twice as far, until there are none.
    """
    vertices = mesh.vertices
    for attempt in range(6):
        single = vertices.float()
        _, row = unique_rows(single)
        moves = (row.bincount() > 1)[row]
        moves[mesh.faces[degenerate(single.double(), mesh.faces)]] = True
        if not bool(moves.any()):
            break
        offsets = torch.nn.functional.normalize(neighbor_offsets(vertices, mesh.faces), dim=1)
        vertices = vertices + torch.where(moves[:, None], _SEPARATION * 2**attempt * diagonal(vertices) * offsets, 0.0)
    return Mesh(vertices.to(dtype), mesh.faces)


def diagonal(vertices: Tensor) -> float:
    """Length of the diagonal of the vertices' box; 0 without vertices."""
    if len(vertices) == 0:
        return 0.0
    return float((vertices.amax(dim=0) - vertices.amin(dim=0)).norm())
