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

from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.checks import check_values
from dreamfusion_mesh.shape.tets.grid import Lattice
from dreamfusion_mesh.shape.tets.marching import marching_tets, sdf_sign_loss
from dreamfusion_mesh.shape.tets.smoothing import Smoother

REACH = 0.24  # of the cell, along each axis: up to 1/4 no tetrahedron of this grid can turn over, so the surface cannot cross itself
BAND = 0.5  # of the cell: how far the signed distance may drift before the narrow band is looked up again
_WALL = 0.05  # of the cell: the least distance on the lattice's box, which stays outside
_MAX_REFINED = 0.96  # of the refined lattice's reach: further and the deformation hardly has a gradient left


class _NarrowBand(NamedTuple):
    """The part of the lattice near the surface.

    rows   [n]     the band's vertices
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

    It lives on the lattice's device. Beside the parameters it keeps `lookup_sdf` [N], the sdf that the narrow band was last looked up
    with, and tables of that band alone. The state holds what the lattice and the tables are made from.
    Raises ValueError for a sdf that is not finite, also later, or not of the lattice's length, type or device.
    """

    origin: Tensor
    cell: Tensor
    counts: Tensor
    lookup_sdf: Tensor

    def __init__(self, lattice: Lattice, sdf: Tensor) -> None:
        super().__init__()
        check_values("sdf", sdf, (lattice.vertex_count,), lattice.origin)
        self.lattice = lattice
        self.sdf = nn.Parameter(sdf.detach().clone())
        self.deform = nn.Parameter(sdf.new_zeros(len(sdf), 3))
        self.register_buffer("origin", lattice.origin.clone())
        self.register_buffer("cell", torch.tensor(lattice.cell, dtype=torch.float64, device=lattice.device))
        self.register_buffer("counts", torch.tensor(lattice.counts, device=lattice.device))
        self.register_buffer("lookup_sdf", sdf.detach().clone())
        self._band: _NarrowBand | None = None
        self._smoother: tuple[float, Smoother] | None = None  # of that band, and its length
        self.register_load_state_dict_post_hook(_rebuild)

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
        band = self._lookup()
        return marching_tets(self._deformed(band), self._clamped_sdf(band), band.grid)

    def sign_loss(self) -> Tensor:
        """`sdf_sign_loss` of the whole lattice, the distance counted in cells; reads the narrow band alone."""
        band = self._lookup()
        return sdf_sign_loss(self._clamped_sdf(band) / self.lattice.cell, band.grid.edges)

    @torch.no_grad()
    def spread(self, values: Tensor, length: float) -> Tensor:
        """[N] values at the lattice's vertices -> [N] spread over `length` scene units among the narrow band's; zero outside it."""
        band = self._lookup()
        if self._smoother is None or self._smoother[0] != length:
            self._smoother = (length, Smoother(band.grid, length))
        return torch.zeros_like(values).index_copy_(0, band.rows, self._smoother[1](values.index_select(0, band.rows)))

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
        shares = (moves / limit).clamp_(-_MAX_REFINED, _MAX_REFINED)
        short = torch.where(shares.abs() < _MAX_REFINED, 0.0, shares * limit - moves)
        surface = TetSurface(lattice, sdf.add_(slopes.mul_(short).sum(dim=1)))
        surface.deform.copy_(torch.atanh(shares))
        return surface

    def _slopes(self) -> Tensor:
        """[N, 3] the sdf's gradient at the vertices, a mean over the narrow band's tetrahedra weighted by volume; zero elsewhere."""
        band = self._lookup()
        spots = self._deformed(band)[band.grid.tets]
        sdf = self._clamped_sdf(band)[band.grid.tets]
        (p, q, r), (s, t, u) = (spots[:, 1:] - spots[:, :1]).unbind(1), (sdf[:, 1:] - sdf[:, :1])[..., None].unbind(1)
        # Cramer's rule: gradient = sum / volume, both six times what they are called.
        sums = s * torch.linalg.cross(q, r, dim=1) + t * torch.linalg.cross(r, p, dim=1) + u * torch.linalg.cross(p, q, dim=1)
        volumes = (p * torch.linalg.cross(q, r, dim=1)).sum(dim=1, keepdim=True)
        total = sums.new_zeros(len(band.rows), 4)
        total.index_add_(0, band.grid.tets.reshape(-1), torch.cat([sums, volumes], dim=1).repeat_interleave(4, dim=0))
        slopes = self.deform.new_zeros(self.deform.shape)
        return slopes.index_copy_(0, band.rows, total[:, :3] / total[:, 3:])

    def _clamped_sdf(self, band: _NarrowBand) -> Tensor:
        """[n] the band's sdf, on the box never inside."""
        return torch.maximum(self.sdf.index_select(0, band.rows), band.floor)

    def _deformed(self, band: _NarrowBand) -> Tensor:
        """[n, 3] where the band's vertices are."""
        return torch.addcmul(band.grid.vertices, band.reach, torch.tanh(self.deform.index_select(0, band.rows)))

    @torch.no_grad()
    def _lookup(self) -> _NarrowBand:
        """The tetrahedra in which `lookup_sdf` changes sign or has a corner within BAND cells of zero.

        Outside them it was at least BAND cells and no sign changed, so until some value has drifted so far none can. They follow
        from the state alone, so that a run that goes on from a checkpoint works on the same tensors, to the last bit.
        """
        limit = BAND * self.lattice.cell
        low, high = torch.stack((self.sdf - self.lookup_sdf).aminmax()).tolist()
        if not (high < limit and low > -limit):
            check_values("sdf", self.sdf, (len(self.lookup_sdf),), self.lookup_sdf)
            self.lookup_sdf.copy_(self.sdf)
            self._band = None
        if self._band is None:
            self._band, self._smoother = self._find(limit), None
        return self._band

    def _find(self, limit: float) -> _NarrowBand:
        inside, near = self.lookup_sdf < 0, self.lookup_sdf.abs() < limit
        wall = _WALL * self.lattice.cell
        for wall_sdf, is_inside, is_near in zip(*(self.lattice.walls(values) for values in (self.lookup_sdf, inside, near)), strict=True):
            is_inside.fill_(False)
            is_near.copy_(wall_sdf.clamp_min(wall) < limit)
        rows, grid = self.lattice.part(inside, near)
        fixed = self.lattice.on_boundary(rows)
        reach = self.sdf.new_full((len(rows),), REACH * self.lattice.cell).masked_fill_(fixed, 0.0)[:, None]
        return _NarrowBand(rows, grid, reach, self.sdf.new_full((len(rows),), -math.inf).masked_fill_(fixed, wall))


def _rebuild(surface: TetSurface, _: object) -> None:
    """The lattice of a state that was just loaded, and no band of another one."""
    x, y, z = surface.counts.tolist()
    surface.lattice = Lattice(surface.origin.clone(), float(surface.cell), (x, y, z))
    surface._band = None
