"""How smooth a mesh is: losses that keep an optimised surface from creasing."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.areas import area_vectors
from dreamfusion_mesh.geometry.normals import unit_vectors
from dreamfusion_mesh.geometry.topology import face_adjacency

_BUMP = 0.15  # radians: up to such an angle between faces it is noise, beyond it is an edge


def normal_consistency_loss(vertices: Tensor, faces: Tensor) -> Tensor:
    """Mean Charbonnier penalty of the difference between neighbouring faces' unit normals: 0 where flat.

    That is e (sqrt(d^2 + e^2) - e) of its length d, with e = 0.15: for faces that hardly bend it is 1 - cos(angle), the usual penalty,
    and from there on it grows with d alone, so that one sharp edge costs no more than the same bend spread over many faces. 1 - cos rounds
    every edge, and makes thin plates thicker. Source: Charbonnier et al., "Deterministic Edge-Preserving Regularization in Computed
    Imaging", 1997; on normals, Bergmann et al., "Total Variation of the Normal Vector Field as Shape Prior", 2020.

    Each pair counts by its smaller area (a constant to the gradient): a sliver's normal says little, and its gradient grows
    as one over its height.
    """
    pairs = face_adjacency(faces)
    if len(pairs) == 0:
        return (vertices * 0).sum()
    areas = area_vectors(vertices, faces)
    normals = unit_vectors(areas)
    a, b = pairs.unbind(1)
    sizes = areas.detach().norm(dim=1)
    weight = torch.minimum(sizes[a], sizes[b])
    turn = (normals.index_select(0, a) - normals.index_select(0, b)).square().sum(dim=1)
    bend = _BUMP * ((turn + _BUMP**2).sqrt() - _BUMP)
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
