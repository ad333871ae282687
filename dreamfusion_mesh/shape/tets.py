"""A surface that can be optimised: the zero level of a signed distance on tetrahedra.

The distance is kept at the vertices of a lattice, which may also move a little (DMTet, arXiv:2111.04276). Distances are negative
inside; exactly zero counts as outside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.grid import Lattice, number

REACH = 0.24  # of the cell, along each axis: up to 1/4 no tetrahedron of this grid can turn over, so the surface cannot cross itself
NEAR = 0.5  # of the cell: how far the signed distance may drift before the tetrahedra near the surface are looked up anew
_WALL = 0.05  # of the cell: the least distance on the lattice's box, which stays outside
_MOST_REFINED = 0.96  # of the refined lattice's reach: further and the deformation hardly has a gradient left

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
_COUNTS = torch.tensor([sum(slot >= 0 for slot in row) // 3 for row in _TRIANGLES], dtype=torch.uint8)  # of triangles


def marching_tets(vertices: Tensor, sdf: Tensor, grid: TetGrid) -> Mesh:
    """The zero level of `sdf`, linear along each edge; differentiable in `vertices` and `sdf`.

    vertices  [N, 3]  where the grid's vertices stand now, scene units
    sdf       [N]     negative inside; zero counts as outside
    One mesh vertex for each edge that changes sign, so the mesh is a closed manifold if no edge of the grid's boundary does.
    Raises ValueError where shapes, types or devices do not fit the grid or a value is not finite.
    Source: Doi & Koide 1991; gradients as in DMTet, arXiv:2111.04276, section 3.2.
    """
    _check("vertices", vertices, (len(grid.vertices), 3), grid.vertices)
    _check("sdf", sdf, (len(grid.vertices),), grid.vertices)
    corners = _corners(sdf.detach() < 0, grid)
    rows, numbers = number(corners, len(grid.edges))
    a, b = grid.edges.index_select(0, rows).unbind(1)
    tiny = torch.finfo(sdf.dtype).tiny ** 0.5  # keeps the gradient finite
    start = sdf.index_select(0, a)
    span = start - sdf.index_select(0, b)
    share = start / torch.where(span.abs() < tiny, tiny, span)
    spots = torch.lerp(vertices.index_select(0, a), vertices.index_select(0, b), share[:, None])
    return Mesh(spots, numbers.index_select(0, corners).long().reshape(-1, 3))


def _corners(inside: Tensor, grid: TetGrid) -> Tensor:
    """[3 F] the edges of `grid` on which the triangles' corners lie: first the tetrahedra of one triangle, then those of two."""
    marks, case = inside.to(torch.uint8), torch.zeros(len(grid.tets), dtype=torch.uint8, device=inside.device)
    for bit, corner in enumerate(grid.tets.unbind(1)):
        case += marks.index_select(0, corner) << bit
    found = []
    for count in (1, 2):
        slots = torch.tensor([row[: 3 * count] for row in _TRIANGLES], device=inside.device)
        crossed = (_COUNTS.to(inside.device).index_select(0, case.int()) == count).nonzero()[:, 0]
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
    _check("sdf", sdf, (len(sdf),), sdf)
    if edges.dim() != 2 or edges.shape[1] != 2 or edges.dtype != torch.int64 or edges.device != sdf.device:
        raise ValueError(f"edges: {edges.dtype} {list(edges.shape)} on {edges.device}, expected torch.int64 [E, 2] on {sdf.device}")
    a, b = (sdf.index_select(0, end) for end in edges.unbind(1))
    changes = (a < 0) != (b < 0)
    if not changes.any():
        return (sdf * 0).sum()
    a, b = a[changes], b[changes]
    return binary_cross_entropy_with_logits(a, (b >= 0).to(b)) + binary_cross_entropy_with_logits(b, (a >= 0).to(a))


class _Near(NamedTuple):
    """The part of the lattice near the surface.

    rows   [n]     the part's vertices
    reach  [n, 1]  how far they move at most: not at all on the lattice's box
    floor  [n]     their least sdf: on the box above zero, elsewhere minus infinity
    """

    rows: Tensor
    grid: TetGrid
    reach: Tensor
    floor: Tensor


class TetSurface(nn.Module):
    """The surface as parameters: `sdf` [N] in scene units, and `deform` [N, 3], which moves each vertex of the lattice by
    REACH * cell * tanh(deform) along each axis; vertices on the box stay where they are and stay outside.

    It lives on the lattice's device. Beside the parameters it keeps `seen` [N], the sdf that the tetrahedra near the surface were last
    looked up with, and tables of those alone. The state holds what the lattice and the tables are made from.
    Raises ValueError for a sdf that is not finite, also later, or not of the lattice's length, type or device.
    """

    origin: Tensor
    cell: Tensor
    counts: Tensor
    seen: Tensor

    def __init__(self, lattice: Lattice, sdf: Tensor) -> None:
        super().__init__()
        _check("sdf", sdf, (lattice.vertex_count,), lattice.origin)
        self.lattice = lattice
        self.sdf = nn.Parameter(sdf.detach().clone())
        self.deform = nn.Parameter(sdf.new_zeros(len(sdf), 3))
        self.register_buffer("origin", lattice.origin.clone())
        self.register_buffer("cell", torch.tensor(lattice.cell, dtype=torch.float64))
        self.register_buffer("counts", torch.tensor(lattice.counts))
        self.register_buffer("seen", sdf.detach().clone())
        self._near: _Near | None = None
        self.register_load_state_dict_post_hook(_forget)

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], device: torch.device | str) -> TetSurface:
        """The surface whose `state_dict` this is, bit for bit."""
        x, y, z = state["counts"].tolist()
        lattice = Lattice(state["origin"].to(device), float(state["cell"]), (x, y, z))
        surface = cls(lattice, state["sdf"].to(device))
        surface.load_state_dict(dict(state))
        return surface

    def mesh(self) -> Mesh:
        """The surface now, with gradients to `sdf` and `deform`; closed. It has no faces where the sdf has one sign."""
        near = self._lookup()
        return marching_tets(self._moved(near), self._closed(near), near.grid)

    def sign_loss(self) -> Tensor:
        """`sdf_sign_loss` of the whole lattice, the distance counted in cells; looks only near the surface."""
        near = self._lookup()
        return sdf_sign_loss(self._closed(near) / self.lattice.cell, near.grid.edges)

    @torch.no_grad()
    def refined(self) -> TetSurface:
        """The same surface on the lattice of half the cell, as new parameters.

        Distance and moves are carried over linearly, and the surface stays the same triangles, each in four or so. Only where a move
        is beyond the finer lattice's reach the vertex stops short, and takes the distance that the slope there gives it.
        """
        lattice, limit = self.lattice.refined(), REACH * self.lattice.cell / 2
        sdf = self.sdf.clone()
        moves = (REACH * self.lattice.cell) * torch.tanh(self.deform)
        for wall in self.lattice.walls(sdf):
            wall.clamp_min_(_WALL * self.lattice.cell)
        for wall in self.lattice.walls(moves):
            wall.zero_()
        sdf, moves, slopes = self.lattice.carry(sdf), self.lattice.carry(moves), self.lattice.carry(self._slopes())
        shares = (moves / limit).clamp_(-_MOST_REFINED, _MOST_REFINED)
        short = torch.where(shares.abs() < _MOST_REFINED, 0.0, shares * limit - moves)
        surface = TetSurface(lattice, sdf.add_(slopes.mul_(short).sum(dim=1)))
        surface.deform.copy_(torch.atanh(shares))
        return surface

    def _slopes(self) -> Tensor:
        """[N, 3] the sdf's gradient at the vertices, a mean over the tetrahedra near the surface weighted by volume; zero elsewhere."""
        near = self._lookup()
        spots = self._moved(near)[near.grid.tets]
        sdf = self._closed(near)[near.grid.tets]
        (p, q, r), (s, t, u) = (spots[:, 1:] - spots[:, :1]).unbind(1), (sdf[:, 1:] - sdf[:, :1])[..., None].unbind(1)
        # Cramer's rule: gradient = sum / volume, both six times what they are called.
        sums = s * torch.linalg.cross(q, r, dim=1) + t * torch.linalg.cross(r, p, dim=1) + u * torch.linalg.cross(p, q, dim=1)
        volumes = (p * torch.linalg.cross(q, r, dim=1)).sum(dim=1, keepdim=True)
        total = sums.new_zeros(len(near.rows), 4)
        total.index_add_(0, near.grid.tets.reshape(-1), torch.cat([sums, volumes], dim=1).repeat_interleave(4, dim=0))
        slopes = self.deform.new_zeros(self.deform.shape)
        return slopes.index_copy_(0, near.rows, total[:, :3] / total[:, 3:])

    def _closed(self, near: _Near) -> Tensor:
        """[n] the part's sdf, on the box never inside."""
        return torch.maximum(self.sdf.index_select(0, near.rows), near.floor)

    def _moved(self, near: _Near) -> Tensor:
        """[n, 3] where the part's vertices stand."""
        return torch.addcmul(near.grid.vertices, near.reach, torch.tanh(self.deform.index_select(0, near.rows)))

    @torch.no_grad()
    def _lookup(self) -> _Near:
        """The tetrahedra near the surface: those in which `seen` changes sign or has a corner within NEAR cells of zero.

        Outside that part it was at least NEAR cells and no sign changed, so until some value has drifted so far none can. They follow
        from the state alone, so that a run that goes on from a checkpoint works on the same tensors, to the last bit.
        """
        limit = NEAR * self.lattice.cell
        low, high = torch.stack((self.sdf - self.seen).aminmax()).tolist()
        if not (high < limit and low > -limit):
            _check("sdf", self.sdf, (len(self.seen),), self.seen)
            self.seen.copy_(self.sdf)
            self._near = None
        if self._near is None:
            self._near = self._find(limit)
        return self._near

    def _find(self, limit: float) -> _Near:
        inside, near = self.seen < 0, self.seen.abs() < limit
        wall = _WALL * self.lattice.cell
        for seen, is_inside, is_near in zip(*(self.lattice.walls(values) for values in (self.seen, inside, near)), strict=True):
            is_inside.fill_(False)
            is_near.copy_(seen.clamp_min(wall) < limit)
        rows, grid = self.lattice.part(inside, near)
        fixed = self.lattice.on_boundary(rows)
        reach = self.sdf.new_full((len(rows),), REACH * self.lattice.cell).masked_fill_(fixed, 0.0)[:, None]
        return _Near(rows, grid, reach, self.sdf.new_full((len(rows),), -math.inf).masked_fill_(fixed, wall))


def _forget(surface: TetSurface, _: object) -> None:
    """What was found of another state."""
    surface._near = None


def _check(name: str, values: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    if tuple(values.shape) != shape or values.dtype != like.dtype or values.device != like.device or not values.is_floating_point():
        raise ValueError(
            f"{name}: {values.dtype} {list(values.shape)} on {values.device}, expected {like.dtype} {list(shape)} on {like.device}"
        )
    finite = torch.isfinite(values.detach())
    if not bool(finite.all()):
        raise ValueError(f"{name}: shape {list(values.shape)} holds NaN or infinity, first in row {int((~finite).nonzero()[0, 0])}")
