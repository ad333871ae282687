"""From density to a surface that can be optimised: threshold, box, signed distance, marching tetrahedra.

The surface is the zero level of a signed distance kept at the vertices of a tetrahedral grid, which may also move a little
(DMTet, arXiv:2111.04276). Distances are negative inside; exactly zero counts as outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.grid import bcc_grid

Density = Callable[[Tensor], Tensor]  # [N, 3] points -> [N] density

REACH = 0.24  # of the cell, along each axis: up to 1/4 no tetrahedron of this grid can turn over, so the surface cannot cross itself
NEAR = 0.5  # of the cell: how far the signed distance may drift before the tetrahedra near the surface are looked up anew
_CHUNK = 1 << 18  # points asked of the density at once
# Unit directions in which the surface's normal is felt for, both ways: enough that a density with a hard edge shows it too.
_PROBES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), *((x * 3**-0.5, y * 3**-0.5, 3**-0.5) for x in (-1, 1) for y in (-1, 1)))

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


def marching_tets(vertices: Tensor, sdf: Tensor, grid: TetGrid) -> Mesh:
    """The zero level of `sdf`, linear along each edge; differentiable in `vertices` and `sdf`.

    vertices  [N, 3]  where the grid's vertices stand now, scene units
    sdf       [N]     negative inside; zero counts as outside
    One mesh vertex for each edge that changes sign, so the mesh is a closed manifold if no edge of the grid's boundary does.
    Source: Doi & Koide 1991; gradients as in DMTet, arXiv:2111.04276, section 3.2.
    """
    bits = torch.tensor([1, 2, 4, 8], dtype=torch.uint8, device=sdf.device)
    case = ((sdf.detach() < 0)[grid.tets].to(torch.uint8) * bits).sum(dim=1, dtype=torch.uint8)
    crossed = ((case > 0) & (case < 15)).nonzero()[:, 0]
    slots = torch.tensor(_TRIANGLES, device=sdf.device)[case[crossed].long()]
    corners = grid.tet_edges[crossed].gather(1, slots.clamp_min(0)).reshape(-1, 3)[slots.reshape(-1, 3)[:, 0] >= 0]
    rows, faces = _compact(corners, grid.edges.shape[0])
    a, b = grid.edges[rows].unbind(1)
    tiny = torch.finfo(sdf.dtype).tiny ** 0.5  # keeps the gradient finite
    start, span = sdf.index_select(0, a), sdf.index_select(0, a) - sdf.index_select(0, b)
    share = start / torch.where(span.abs() < tiny, tiny, span)
    from_a = vertices.index_select(0, a)
    return Mesh(from_a + share[:, None] * (vertices.index_select(0, b) - from_a), faces)


def sdf_sign_loss(sdf: Tensor, edges: Tensor) -> Tensor:
    """Cross-entropy that pulls the two ends of each edge that changes sign towards one sign: against floaters and cavities.

    sdf    [N]           in a unit of the caller's choice: it is read as a logit
    edges  [E, 2] int64
    Scalar; zero (with a gradient, zero too) where no edge changes sign.   Source: arXiv:2111.12503, eq. 2.
    """
    a, b = sdf[edges[:, 0]], sdf[edges[:, 1]]
    changes = (a < 0) != (b < 0)
    if not changes.any():
        return (sdf * 0).sum()
    a, b = a[changes], b[changes]
    return binary_cross_entropy_with_logits(a, (b >= 0).to(b)) + binary_cross_entropy_with_logits(b, (a >= 0).to(a))


def density_threshold(peaks: Tensor, opacity: Tensor) -> float:
    """The density whose surface best matches what the field shows: maximises IoU of {peaks > level} and {opacity > 1/2}.

    peaks    [P]  largest density along each pixel's ray
    opacity  [P]  of that pixel, [0, 1]
    The level is the middle of the widest gap between peaks that is among the best. Raises RunFailed, naming the density's range,
    where no pixel is opaque or the density is not finite.
    """
    if peaks.shape != opacity.shape or peaks.dim() != 1 or len(peaks) == 0:
        raise ValueError(f"density_threshold: peaks {list(peaks.shape)}, opacity {list(opacity.shape)}, expected both [P] with P > 0")
    found = f"the density's peaks lie in [{float(peaks.min()):.4g}, {float(peaks.max()):.4g}], opacity reaches {float(opacity.max()):.3g}"
    remedy = "take more coarse.steps, lower coarse.opacity, or set fine.threshold=VALUE within that range"
    if not (peaks.isfinite().all() and opacity.isfinite().all()):
        raise RunFailed(f"density threshold: {found}; expected finite values; lower coarse.learning_rate")
    opaque = opacity > 0.5
    if not opaque.any() or float(peaks.max()) < 1e-3:
        raise RunFailed(f"density threshold: {found}; expected some opaque pixels (opacity > 0.5); {remedy}")
    levels, order = peaks.double().sort(descending=True)
    hits = opaque[order].double().cumsum(0)
    taken = torch.arange(1, len(levels) + 1, device=levels.device, dtype=torch.float64)
    iou = hits / (taken + hits[-1] - hits)
    below = torch.cat([levels[1:], levels.new_zeros(1)])
    gap = levels - below
    best = float(iou[gap > 0].max())
    gap = torch.where(iou >= best - 1e-9, gap, -1.0)
    pick = int(gap.argmax())
    return float((levels[pick] + below[pick]) / 2)


@dataclass(frozen=True, eq=False)
class Box:
    """Where the object is.

    low, high  [3]                  scene units, with a margin round the object
    keeps      [N, 3] -> [N] bool   whether a point is nearer to a part that is kept than to one that is dropped
    """

    low: Tensor
    high: Tensor
    keeps: Callable[[Tensor], Tensor]


def occupied_box(
    density: Density, threshold: float, size: int, smallest_part: float, device: torch.device | str = "cpu", margin: float = 0.1
) -> Box:
    """The largest parts above `threshold` in [-1, 1]^3, and the box round them.

    size           samples along each side of the scene
    smallest_part  parts under this share of the largest one's volume are dropped
    margin         of the object's longest side, added on each side; the box stays inside [-1.05, 1.05]^3
    Raises RunFailed, naming the density's range, where nothing lies above the threshold, and BadInput for one that is not positive.
    """
    from scipy import ndimage

    if not threshold > 0:
        raise BadInput(f"fine.threshold: {threshold}, expected a density above 0, or auto")
    ticks = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    points = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1).reshape(-1, 3)
    values = _ask(density, points)
    occupied = (values > threshold).reshape(size, size, size).cpu().numpy()
    if not occupied.any():
        raise RunFailed(
            f"density: lies in [{float(values.min()):.4g}, {float(values.max()):.4g}] and nothing is above the threshold {threshold:.4g}; "
            "take more coarse.steps, lower coarse.opacity, or set fine.threshold=VALUE within that range"
        )
    labels, count = ndimage.label(occupied, structure=ndimage.generate_binary_structure(3, 3))
    volumes = ndimage.sum_labels(occupied, labels, range(1, count + 1))
    kept = occupied & (volumes >= smallest_part * volumes.max())[labels - 1]
    nearest = ndimage.distance_transform_edt(~occupied, return_distances=False, return_indices=True)
    part = torch.from_numpy(kept[tuple(nearest)]).to(device)
    where = torch.from_numpy(kept).nonzero().to(device)
    low, high = (where.amin(dim=0) * (2 / size) - 1, (where.amax(dim=0) + 1) * (2 / size) - 1)
    pad = margin * (high - low).max()

    def keeps(points: Tensor) -> Tensor:
        x, y, z = ((points + 1) * (size / 2)).long().clamp(0, size - 1).unbind(1)
        return part[x, y, z]

    return Box((low - pad).clamp(-1.05, 1.05), (high + pad).clamp(-1.05, 1.05), keeps)


@torch.no_grad()
def sdf_from_density(density: Density, threshold: float, box: Box, grid: TetGrid) -> Tensor:
    """[N] signed distance at the grid's vertices to the surface {density = threshold}, to first order, clamped to one cell.

    Dropped parts, whatever lies outside [-1, 1]^3 and the grid's boundary are outside, so the surface is closed.

    A density's edge is often sharper than a cell, and its values at the vertices then say nothing of where the surface is. So the
    crossing of each edge is found by bisection, and a vertex takes the mean distance to its crossings' tangent planes.
    """
    vertices, cell = grid.vertices, grid.cell

    def solid(points: Tensor) -> Tensor:
        """[n, 1] in [0, 1), 1/2 at the threshold: bounded, so that a huge density does not drown the surface's direction."""
        values = _ask(density, points).to(points)
        values = torch.where((points.abs() <= 1).all(dim=1) & box.keeps(points), values, 0.0)
        return (values / (values + threshold))[:, None]

    inside = (solid(vertices)[:, 0] > 0.5) & ~on_boundary(vertices, grid)
    edges = grid.edges[inside[grid.edges[:, 0]] != inside[grid.edges[:, 1]]]
    edges = torch.where(inside[edges[:, :1]], edges, edges.flip(1))
    start, end = vertices[edges[:, 0]], vertices[edges[:, 1]]
    share, cosine = _crossings(solid, start, end, cell)
    reach = (end - start).norm(dim=1, keepdim=True) * cosine
    weight = cosine.square()  # a grazing edge says little about the distance
    total = torch.zeros(len(vertices), 2, dtype=vertices.dtype, device=vertices.device)
    total.index_add_(0, edges[:, 0], torch.cat([share * reach * weight, weight], dim=1))
    total.index_add_(0, edges[:, 1], torch.cat([(1 - share) * reach * weight, weight], dim=1))
    size = torch.where(total[:, 1] > 0, total[:, 0] / total[:, 1], cell).clamp(0.01 * cell, cell)
    return torch.where(inside, -size, size)


def _crossings(solid: Density, start: Tensor, end: Tensor, cell: float) -> tuple[Tensor, Tensor]:
    """Where each edge leaves the solid, [M, 1] as a share of its way, and the cosine [M, 1] between it and the surface's normal there.

    Where the edge's end is solid too (it lies on the grid's boundary, which is outside all the same), that is half-way, head-on.
    """
    low, high = torch.zeros_like(start[:, :1]), torch.ones_like(start[:, :1])
    for _ in range(10):
        middle = (low + high) / 2
        within = solid(start + middle * (end - start)) > 0.5
        low, high = torch.where(within, middle, low), torch.where(within, high, middle)
    capped = solid(end) > 0.5
    share = torch.where(capped, 0.5, (low + high) / 2)
    crossing = start + share * (end - start)
    normal = torch.zeros_like(start)
    for probe in torch.tensor(_PROBES, dtype=start.dtype, device=start.device):
        step = probe * (cell / 4)
        normal += (solid(crossing - step) - solid(crossing + step)) * probe
    cosine = torch.cosine_similarity(normal, end - start, dim=1)[:, None].clamp_min(0.05)
    return share, torch.where(capped | (normal == 0).all(dim=1, keepdim=True), 1.0, cosine)


def on_boundary(vertices: Tensor, grid: TetGrid) -> Tensor:
    """[N] bool: which of these undeformed vertices lie on the box of the grid."""
    low, high = grid.vertices.amin(dim=0), grid.vertices.amax(dim=0)
    return ((vertices < low + grid.cell / 4) | (vertices > high - grid.cell / 4)).any(dim=1)


class TetSurface(nn.Module):
    """The surface as parameters: `sdf` [N] in scene units, and `deform` [N, 3], which moves each vertex of the grid by
    REACH * cell * tanh(deform) along each axis; vertices on the box stay where they are and stay outside.

    It lives on the grid's device. The state holds what the grid is made from, not the grid.
    """

    origin: Tensor
    cell: Tensor
    counts: Tensor

    def __init__(self, grid: TetGrid, sdf: Tensor) -> None:
        super().__init__()
        if sdf.shape != grid.vertices.shape[:1]:
            raise ValueError(f"TetSurface: sdf {list(sdf.shape)}, expected [{len(grid.vertices)}], one value a vertex of the grid")
        self.grid = grid
        self.sdf = nn.Parameter(sdf.detach().clone())
        self.deform = nn.Parameter(torch.zeros_like(grid.vertices))
        extent = (grid.vertices.amax(dim=0) - grid.vertices.amin(dim=0)).double()
        self.register_buffer("origin", grid.vertices[0].clone())
        self.register_buffer("cell", torch.tensor(grid.cell, dtype=torch.float64))
        self.register_buffer("counts", (extent / grid.cell).round().long())
        self._fixed = on_boundary(grid.vertices, grid)
        self._near: tuple[Tensor, Tensor, TetGrid] | None = None  # the sdf it was found with, and what was found

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], device: torch.device | str) -> TetSurface:
        """The surface whose `state_dict` this is, bit for bit."""
        grid = bcc_grid(state["origin"].to(device), float(state["cell"]), state["counts"].tolist())
        surface = cls(grid, state["sdf"].to(device))
        surface.load_state_dict(dict(state))
        return surface

    def mesh(self) -> Mesh:
        """The surface now, with gradients to `sdf` and `deform`; closed. It has no faces where the sdf has one sign."""
        rows, near = self._lookup()
        fixed = self._fixed[rows, None]
        moves = REACH * near.cell * torch.tanh(self.deform.index_select(0, rows))
        return marching_tets(near.vertices + torch.where(fixed, 0.0, moves), self._closed(rows), near)

    def sign_loss(self) -> Tensor:
        """`sdf_sign_loss` of the whole grid, the distance counted in cells; looks only near the surface."""
        rows, near = self._lookup()
        return sdf_sign_loss(self._closed(rows) / near.cell, near.edges)

    def _closed(self, rows: Tensor) -> Tensor:
        """The sdf of these vertices, on the box never inside."""
        sdf = self.sdf.index_select(0, rows)
        return torch.where(self._fixed[rows], sdf.clamp_min(0.05 * self.grid.cell), sdf)

    @torch.no_grad()
    def _lookup(self) -> tuple[Tensor, TetGrid]:
        """Vertices [n] of the tetrahedra near the surface, and those as a grid of their own.

        Outside that part every |sdf| was at least NEAR cells and no sign changed, so until some value has drifted so far none can.
        """
        limit = NEAR * self.grid.cell
        if self._near is None or not float((self.sdf - self._near[0]).abs().max()) < limit:
            everywhere = torch.arange(len(self.sdf), device=self.sdf.device)
            self._near = self.sdf.detach().clone(), *_near_surface(self.grid, self._closed(everywhere), limit)
        return self._near[1:]


def _near_surface(grid: TetGrid, sdf: Tensor, limit: float) -> tuple[Tensor, TetGrid]:
    """The tetrahedra that change sign or have a corner with |sdf| < limit: their vertices [n], and they as a grid of their own."""
    mark = (sdf < 0).to(torch.uint8) + 8 * (sdf.abs() < limit).to(torch.uint8)
    marks = mark[grid.tets].sum(dim=1, dtype=torch.uint8)
    chosen = ((marks != 0) & (marks != 4)).nonzero()[:, 0]
    rows, tets = _compact(grid.tets[chosen], len(grid.vertices))
    edge_rows, tet_edges = _compact(grid.tet_edges[chosen], len(grid.edges))
    place = torch.zeros(len(grid.vertices), dtype=torch.int64, device=rows.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    return rows, TetGrid(grid.vertices[rows], tets, place[grid.edges[edge_rows]], tet_edges, grid.cell)


def _compact(index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The distinct values of `index` (each below `count`) in order, and `index` as positions among them."""
    used = torch.zeros(count, dtype=torch.bool, device=index.device)
    used[index.reshape(-1)] = True
    rows = used.nonzero()[:, 0]
    place = torch.empty(count, dtype=torch.int64, device=index.device)
    place[rows] = torch.arange(len(rows), device=index.device)
    return rows, place[index]


@torch.no_grad()
def _ask(density: Density, points: Tensor) -> Tensor:
    return torch.cat([density(part) for part in points.split(_CHUNK)])
