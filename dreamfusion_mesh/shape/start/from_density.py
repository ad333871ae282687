"""A tetrahedral surface from a density: threshold, largest parts, box, and where the surface crosses the lattice's edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.errors import BadInput, PoorOutcome
from dreamfusion_mesh.shape.tets.grid import Lattice, tet_lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface

Density = Callable[[Tensor], Tensor]  # [N, 3] points -> [N] density

_CHUNK = 1 << 18  # points at which the density is evaluated at once
# Unit directions of the differences that estimate the surface's normal: enough that a density with a hard edge shows it too.
_DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), *((x * 3**-0.5, y * 3**-0.5, 3**-0.5) for x in (-1, 1) for y in (-1, 1)))


def start_from_density(
    density: Density, threshold: float, cells: int, samples: int, smallest_part: float, device: torch.device | str = "cpu"
) -> TetSurface:
    """The surface {density = threshold} of the largest parts in [-1, 1]^3, on a lattice over their box with a margin.

    cells          of the lattice along the box's longest side
    samples        along each side of the scene, where parts and box are looked for
    smallest_part  parts under this share of the largest one's volume are dropped
    Raises PoorOutcome, naming the density's range, where nothing lies above the threshold, and BadInput for one that is not positive.
    """
    box = occupied_box(density, threshold, samples, smallest_part, device)
    lattice = tet_lattice(box.low, box.high, cells)
    return TetSurface(lattice, sdf_from_density(density, threshold, box, lattice))


def density_threshold(peaks: Tensor, opacity: Tensor) -> float:
    """The density whose surface best matches what the field shows: maximises IoU of {peaks > level} and {opacity > 1/2}.

    peaks    [P]  largest density along each pixel's ray
    opacity  [P]  of that pixel, [0, 1]
    The level is the middle of the widest gap between peaks that is among the best. Raises PoorOutcome, naming the density's range,
    where no pixel is opaque or the density is not finite.
    """
    if peaks.shape != opacity.shape or peaks.dim() != 1 or len(peaks) == 0:
        raise ValueError(f"density_threshold: peaks {list(peaks.shape)}, opacity {list(opacity.shape)}, expected both [P] with P > 0")
    found = f"the density's peaks lie in [{float(peaks.min()):.4g}, {float(peaks.max()):.4g}], opacity reaches {float(opacity.max()):.3g}"
    remedy = "take more coarse.steps, lower coarse.opacity, or set fine.threshold=VALUE within that range"
    if not (peaks.isfinite().all() and opacity.isfinite().all()):
        raise PoorOutcome("diverged", f"density threshold: {found}; expected finite values; lower coarse.learning_rate")
    opaque = opacity > 0.5
    if not opaque.any() or float(peaks.max()) < 1e-3:
        raise PoorOutcome("empty", f"density threshold: {found}; expected some opaque pixels (opacity > 0.5); {remedy}")
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
    Raises PoorOutcome, naming the density's range, where nothing lies above the threshold, and BadInput for one that is not positive.
    """
    from scipy import ndimage

    if not threshold > 0:
        raise BadInput(f"fine.threshold: {threshold}, expected a density above 0, or auto")
    ticks = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    points = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1).reshape(-1, 3)
    values = _evaluate(density, points)
    occupied = (values > threshold).reshape(size, size, size).cpu().numpy()
    if not occupied.any():
        raise PoorOutcome(
            "empty" if bool(values.isfinite().all()) else "diverged",
            f"density: lies in [{float(values.min()):.4g}, {float(values.max()):.4g}] and nothing is above the threshold {threshold:.4g}; "
            "take more coarse.steps, lower coarse.opacity, or set fine.threshold=VALUE within that range",
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
def sdf_from_density(density: Density, threshold: float, box: Box, lattice: Lattice) -> Tensor:
    """[N] signed distance at the lattice's vertices to the surface {density = threshold}, to first order, clamped to one cell.

    Dropped parts, whatever lies outside [-1, 1]^3 and the lattice's boundary are outside, so the surface is closed.

    A density's edge is often sharper than a cell, and its values at the vertices then say nothing of where the surface is. So the
    crossing of each edge is found by bisection, and a vertex takes the mean distance to its crossings' tangent planes.
    """
    cell = lattice.cell

    def solid(points: Tensor) -> Tensor:
        """[n, 1] in [0, 1), 1/2 at the threshold: bounded, so that a huge density does not drown the surface's direction."""
        values = _evaluate(density, points).to(points)
        values = torch.where((points.abs() <= 1).all(dim=1) & box.keeps(points), values, 0.0)
        return (values / (values + threshold))[:, None]

    rows = lattice.in_chunks()
    inside = torch.cat([(solid(lattice.positions(part))[:, 0] > 0.5) & ~lattice.on_boundary(part) for part in rows])
    edges = lattice.changing_edges(inside)
    edges = torch.where(inside[edges[:, :1]], edges, edges.flip(1))
    start, end = lattice.positions(edges[:, 0]), lattice.positions(edges[:, 1])
    share, cosine = _crossings(solid, start, end, cell)
    reach = (end - start).norm(dim=1, keepdim=True) * cosine
    weight = cosine.square()  # a grazing edge says little about the distance
    total = torch.zeros(len(inside), 2, dtype=start.dtype, device=start.device)
    total.index_add_(0, edges[:, 0], torch.cat([share * reach * weight, weight], dim=1))
    total.index_add_(0, edges[:, 1], torch.cat([(1 - share) * reach * weight, weight], dim=1))
    size = torch.where(total[:, 1] > 0, total[:, 0] / total[:, 1], cell).clamp(0.01 * cell, cell)
    return torch.where(inside, -size, size)


def _crossings(solid: Density, start: Tensor, end: Tensor, cell: float) -> tuple[Tensor, Tensor]:
    """Where each edge leaves the solid, [M, 1] as a share of its way, and the cosine [M, 1] between it and the surface's normal there.

    Where the edge's end is solid too (it lies on the lattice's boundary, which is outside all the same), that is half-way, head-on.
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
    for direction in torch.tensor(_DIRECTIONS, dtype=start.dtype, device=start.device):
        step = direction * (cell / 4)
        normal += (solid(crossing - step) - solid(crossing + step)) * direction
    cosine = torch.cosine_similarity(normal, end - start, dim=1)[:, None].clamp_min(0.05)
    return share, torch.where(capped | (normal == 0).all(dim=1, keepdim=True), 1.0, cosine)


@torch.no_grad()
def _evaluate(density: Density, points: Tensor) -> Tensor:
    return torch.cat([density(part) for part in points.split(_CHUNK)])
