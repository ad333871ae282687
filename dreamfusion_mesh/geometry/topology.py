"""How faces are connected: edges, neighbours, shells, and welding."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.records import Mesh


def edge_keys(faces: Tensor, span: int) -> tuple[Tensor, Tensor]:
    """[F, 3] a key for each corner's undirected edge to the next corner, and whether it runs from the smaller row to the larger.

    The key is smaller * span + larger; `span` is above every row.
    """
    start, end = faces, faces.roll(-1, dims=1)
    return torch.minimum(start, end) * span + torch.maximum(start, end), start < end


def face_adjacency(faces: Tensor) -> Tensor:
    """[A, 2] rows of faces that share an edge; on a closed manifold 3 F / 2 of them, in the order of their edges."""
    span = int(faces.max()) + 1 if len(faces) else 1
    key, order = edge_keys(faces, span)[0].reshape(-1).sort(stable=True)
    first = (key[1:] == key[:-1]).nonzero()[:, 0]
    return torch.stack([order[first], order[first + 1]], dim=1) // 3


def shells(faces: Tensor) -> Tensor:
    """[F] number of the shell each face belongs to, from 0; faces are connected through shared edges."""
    a, b = face_adjacency(faces.cpu()).unbind(1)
    return components(a, b, len(faces)).to(faces.device)


def components(one: Tensor, other: Tensor, count: int) -> Tensor:
    """[count] number, from 0, of the group that each of `count` things is in, where one[i] and other[i] are connected; on the CPU."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), dtype=np.int8), (one.numpy(), other.numpy())), shape=(count, count))
    return torch.from_numpy(connected_components(graph, directed=False)[1]).long()


def weld(mesh: Mesh) -> Mesh:
    """Vertices at exactly the same position become one; unused ones are dropped. The surface's own uvs stay as they are."""
    vertices, faces = distinct_rows(mesh.vertices, mesh.faces)
    return Mesh(vertices, faces, mesh.uvs, mesh.face_uvs)


def distinct_rows(values: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of `values` [N, C] that `faces` [F, 3] use, in ascending order, and the faces as rows of those. -0 counts as 0."""
    used, faces = faces.unique(return_inverse=True)
    distinct, row = unique_rows(values[used] + 0.0)  # adding zero turns -0 into 0
    return distinct, row[faces]


def unique_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of `values` [N, C] in ascending order, and the number [N] of each row among them.

    As Tensor.unique(dim=0) gives it, ten times as fast for many rows of few columns.
    """
    order = torch.arange(len(values), device=values.device)
    for column in values.unbind(1)[::-1]:
        order = order[column[order].sort(stable=True).indices]
    ascending = values[order]
    first = torch.ones(len(values), dtype=torch.bool, device=values.device)
    first[1:] = (ascending[1:] != ascending[:-1]).any(dim=1)
    return ascending[first], torch.empty_like(order).scatter_(0, order, first.cumsum(0) - 1)
