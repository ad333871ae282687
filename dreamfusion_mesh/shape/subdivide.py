"""Loop's subdivision: each triangle becomes four, and the surface tends to a smooth one.

Source: C. Loop, "Smooth Subdivision Surfaces Based on Triangles", 1987; as the last layer of DMTet, arXiv:2111.04276, section 3.1.4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.topology import edge_keys
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.checks import check_finite


def loop_subdivide(mesh: Mesh, times: int = 1) -> Mesh:
    """Loop's scheme `times` over; differentiable in the vertices, which come first in the result. Uvs are not carried over.

    A new vertex on an edge: 3/8 of its ends and 1/8 of the two corners across. An old one of n neighbours: 1 - n b of itself and b of
    each, b = (5/8 - (3/8 + cos(2 pi / n) / 4)^2) / n. On a rim 1/2 of the ends, and 3/4 and 1/8 along the rim; a vertex where several
    rims meet, or without a face, stays.
    Raises ValueError for a face out of range, a corner twice in a face, an edge of more than two faces, vertices that are not finite.
    """
    if times < 0:
        raise ValueError(f"loop_subdivide: times {times}, expected 0 or more")
    _check(mesh)
    for _ in range(times):
        mesh = _once(mesh.vertices, mesh.faces)
    return mesh


def _once(vertices: Tensor, faces: Tensor) -> Mesh:
    count = len(vertices)
    edges, face_edges, uses = _edges(faces, count)
    rim = uses == 1
    a, b = edges.unbind(1)
    ends = vertices.index_select(0, a) + vertices.index_select(0, b)
    across = torch.zeros_like(ends).index_add(0, face_edges.reshape(-1), vertices.index_select(0, faces.roll(1, dims=1).reshape(-1)))
    middles = torch.where(rim[:, None], ends / 2, ends * (3 / 8) + across / 8)

    neighbours = torch.zeros_like(vertices).index_add(0, a, vertices.index_select(0, b)).index_add(0, b, vertices.index_select(0, a))
    valence = edges.reshape(-1).bincount(minlength=count)
    along = _rim_sum(vertices, edges[rim])
    rims = edges[rim].reshape(-1).bincount(minlength=count)
    share = _loop_weight(valence, vertices.dtype)[:, None]
    smooth = (1 - valence[:, None] * share) * vertices + share * neighbours
    on_rim = torch.where((rims == 2)[:, None], vertices * (3 / 4) + along / 8, vertices)
    moved = torch.where(((rims == 0) & (valence > 0))[:, None], smooth, on_rim)

    p, q, r = faces.unbind(1)
    pq, qr, rp = (face_edges + count).unbind(1)
    parts = [(p, pq, rp), (q, qr, pq), (r, rp, qr), (pq, qr, rp)]
    return Mesh(torch.cat([moved, middles]), torch.cat([torch.stack(part, dim=1) for part in parts]))


def _rim_sum(vertices: Tensor, rim: Tensor) -> Tensor:
    """[V, 3] sum of each vertex's neighbours along the rim's edges [R, 2]."""
    a, b = rim.unbind(1)
    return torch.zeros_like(vertices).index_add(0, a, vertices.index_select(0, b)).index_add(0, b, vertices.index_select(0, a))


def _loop_weight(valence: Tensor, dtype: torch.dtype) -> Tensor:
    """[V] Loop's b for that many neighbours."""
    n = valence.clamp_min(1).to(dtype)
    return (5 / 8 - (3 / 8 + torch.cos(2 * math.pi / n) / 4).square()) / n


def _edges(faces: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The undirected edges [E, 2], each face's rows of them [F, 3] from each corner to the next, and how many faces each has [E]."""
    found, rows, uses = edge_keys(faces, count)[0].unique(return_inverse=True, return_counts=True)
    low = found.div(max(count, 1), rounding_mode="floor")
    edges = torch.stack([low, found - low * count], dim=1)
    if len(uses) and int(uses.max()) > 2:
        worst = int(uses.argmax())
        raise ValueError(f"faces: edge {edges[worst].tolist()} has {int(uses[worst])} faces, expected at most 2")
    return edges, rows, uses


def _check(mesh: Mesh) -> None:
    vertices, faces = mesh.vertices, mesh.faces
    if vertices.device != faces.device:
        raise ValueError(f"vertices: on {vertices.device}, faces on {faces.device}, expected one device")
    check_finite("vertices", vertices)
    if len(faces) == 0:
        return
    low, high = (int(value) for value in faces.aminmax())
    if low < 0 or high >= len(vertices):
        raise ValueError(f"faces: shape {list(faces.shape)} with vertices {low} to {high}, expected 0 to {len(vertices) - 1}")
    twice = (faces == faces.roll(1, dims=1)).any(dim=1)
    if bool(twice.any()):
        row = int(twice.nonzero()[0, 0])
        raise ValueError(f"faces: row {row} has a corner twice ({faces[row].tolist()}), expected three vertices")
