"""Marching tetrahedra: the zero level of a signed distance as triangles. Distances are negative inside; exactly zero counts as outside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.checks import check_values
from dreamfusion_mesh.shape.tets.grid import compact_index

# A row for each set of inside corners (bit k: corner k): up to two triangles, their corners on the edges 01, 02, 03, 12, 13, 23.
_TRIANGLES = (
    (-1, -1, -1, -1, -1, -1),
    (0, 1, 2, -1, -1, -1),
    (0, 4, 3, -1, -1, -1),
    (1, 2, 4, 1, 4, 3),
    (1, 3, 5, -1, -1, -1),
    (0, 3, 5, 0, 5, 2),
    (0, 4, 5, 0, 5, 1),
    (2, 4, 5, -1, -1, -1),
    (2, 5, 4, -1, -1, -1),
    (0, 1, 5, 0, 5, 4),
    (0, 2, 5, 0, 5, 3),
    (1, 5, 3, -1, -1, -1),
    (1, 3, 4, 1, 4, 2),
    (0, 3, 4, -1, -1, -1),
    (0, 2, 1, -1, -1, -1),
    (-1, -1, -1, -1, -1, -1),
)
_COUNTS = [sum(slot >= 0 for slot in row) // 3 for row in _TRIANGLES]  # of triangles


def marching_tets(vertices: Tensor, sdf: Tensor, grid: TetGrid) -> Mesh:
    """The zero level of `sdf`, linear along each edge; differentiable in `vertices` and `sdf`.

    vertices  [N, 3]  where the grid's vertices stand now, scene units
    sdf       [N]     negative inside; zero counts as outside
    One mesh vertex for each edge that changes sign, so the mesh is a closed manifold if no edge of the grid's boundary does.
    Raises ValueError where shapes, types or devices do not fit the grid or a value is not finite.
    Source: Doi & Koide 1991; gradients as in DMTet, arXiv:2111.04276, section 3.2.
    """
    check_values("vertices", vertices, (len(grid.vertices), 3), grid.vertices)
    check_values("sdf", sdf, (len(grid.vertices),), grid.vertices)
    corners = _corners(sdf.detach() < 0, grid)
    rows, ranks = compact_index(corners, len(grid.edges))
    a, b = grid.edges.index_select(0, rows).unbind(1)
    tiny = torch.finfo(sdf.dtype).tiny ** 0.5  # keeps the gradient finite
    start = sdf.index_select(0, a)
    span = start - sdf.index_select(0, b)
    share = start / torch.where(span.abs() < tiny, tiny, span)
    spots = torch.lerp(vertices.index_select(0, a), vertices.index_select(0, b), share[:, None])
    return Mesh(spots, ranks.index_select(0, corners).long().reshape(-1, 3))


def _corners(inside: Tensor, grid: TetGrid) -> Tensor:
    """[3 F] the edges of `grid` on which the triangles' corners lie: first the tetrahedra of one triangle, then those of two."""
    marks, case = inside.to(torch.uint8), torch.zeros(len(grid.tets), dtype=torch.uint8, device=inside.device)
    for bit, corner in enumerate(grid.tets.unbind(1)):
        case += marks.index_select(0, corner) << bit
    found = []
    counts = torch.tensor(_COUNTS, dtype=torch.uint8, device=inside.device).index_select(0, case.int())
    for count in (1, 2):
        slots = torch.tensor([row[: 3 * count] for row in _TRIANGLES], device=inside.device)
        crossed = (counts == count).nonzero()[:, 0]
        at = slots.index_select(0, case[crossed].int()) + 6 * crossed[:, None]
        found.append(grid.tet_edges.reshape(-1).index_select(0, at.reshape(-1)))
    return torch.cat(found)


def sdf_sign_loss(sdf: Tensor, edges: Tensor) -> Tensor:
    """Cross-entropy that pulls the two ends of each edge that changes sign towards one sign: against floaters and cavities.

    sdf    [N]           in a unit of the caller's choice: it is read as a logit
    edges  [E, 2] int64
    Scalar; zero (with a gradient, zero too) where no edge changes sign.   Source: arXiv:2111.12503, eq. 2.
    Raises ValueError for shapes and types other than these, and a value that is not finite.
    """
    check_values("sdf", sdf, (len(sdf),), sdf)
    if edges.dim() != 2 or edges.shape[1] != 2 or edges.dtype != torch.int64 or edges.device != sdf.device:
        raise ValueError(f"edges: {edges.dtype} {list(edges.shape)} on {edges.device}, expected torch.int64 [E, 2] on {sdf.device}")
    a, b = (sdf.index_select(0, end) for end in edges.unbind(1))
    changes = (a < 0) != (b < 0)
    if not changes.any():
        return (sdf * 0).sum()
    a, b = a[changes], b[changes]
    return binary_cross_entropy_with_logits(a, (b >= 0).to(b)) + binary_cross_entropy_with_logits(b, (a >= 0).to(a))
