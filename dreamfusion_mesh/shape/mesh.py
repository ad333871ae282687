"""Triangles: normals, how smooth they are, and where they stand."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.soundness import face_adjacency


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F, 3] unit normals, towards the outside; zero where a face has no area. Differentiable."""
    return _unit(_doubled_areas(vertices, faces))


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """[V, 3] unit normals, the mean of the faces round a vertex weighted by area; zero where there is none. Differentiable."""
    areas = _doubled_areas(vertices, faces)
    total = torch.zeros_like(vertices).index_add(0, faces.reshape(-1), areas.repeat_interleave(3, dim=0))
    return _unit(total)


def normal_consistency_loss(vertices: Tensor, faces: Tensor, adjacency: Tensor | None = None) -> Tensor:
    """Mean of 1 - cos(angle between neighbouring faces): 0 where flat, at most 2.

    adjacency  [A, 2]  as `face_adjacency` gives it, where the caller already has it
    Each pair counts by its smaller area (a constant to the gradient): a sliver's normal says little, and its gradient grows
    as one over its height.
    """
    pairs = face_adjacency(faces) if adjacency is None else adjacency
    if len(pairs) == 0:
        return (vertices * 0).sum()
    areas = _doubled_areas(vertices, faces)
    normals = _unit(areas)
    a, b = pairs.unbind(1)
    sizes = areas.detach().norm(dim=1)
    weight = torch.minimum(sizes[a], sizes[b])
    bend = 1 - (normals.index_select(0, a) * normals.index_select(0, b)).sum(dim=1)
    return (weight * bend).sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def laplacian_loss(vertices: Tensor, faces: Tensor) -> Tensor:
    """Mean squared distance of each vertex from the mean of its neighbours, over the mean squared edge (a constant to the gradient).

    Without a unit, so that one weight serves every resolution. An edge with one face, on a rim, counts half.
    """
    start, end = faces.reshape(-1), faces.roll(-1, dims=1).reshape(-1)
    if len(start) == 0:
        return (vertices * 0).sum()
    along = vertices.index_select(0, end) - vertices.index_select(0, start)
    total = torch.zeros_like(vertices).index_add(0, start, along).index_add(0, end, -along)
    degree = start.bincount(minlength=len(vertices)) + end.bincount(minlength=len(vertices))
    offset = total / degree.clamp_min(1)[:, None]
    unit = along.detach().square().sum(dim=1).mean().clamp_min(torch.finfo(vertices.dtype).tiny)
    return offset.square().sum(dim=1).mean() / unit


def place(mesh: Mesh, longest_side: float) -> tuple[Mesh, float, Tensor]:
    """Stand the mesh on the ground: bottom centre at the origin, longest side `longest_side` metres. Uvs stay.

    Gives the placed mesh, the scale and the offset [3]: placed = scale * vertex + offset.
    Raises RunFailed for a mesh without extent.
    """
    spots = mesh.vertices if len(mesh.vertices) else mesh.vertices.new_zeros(1, 3)
    low, high = spots.amin(dim=0), spots.amax(dim=0)
    extent = float((high - low).max())
    if not 0 < extent < float("inf"):
        raise RunFailed(f"place: the mesh's longest side is {extent:.4g}, expected a finite length above 0")
    scale = longest_side / extent
    pivot = torch.stack([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    return Mesh((mesh.vertices - pivot) * scale, mesh.faces, mesh.uvs, mesh.face_uvs), scale, -pivot * scale


def _doubled_areas(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = (vertices.index_select(0, column) for column in faces.unbind(1))
    return torch.linalg.cross(b - a, c - a, dim=1)


def _unit(vectors: Tensor) -> Tensor:
    """Normalised; the zero vector stays zero, with a finite gradient."""
    # The derivative of rsqrt at the bound, 1e36 / 2, is the largest that float32 still holds.
    return vectors * vectors.square().sum(dim=1, keepdim=True).clamp_min(1e-24).rsqrt()
