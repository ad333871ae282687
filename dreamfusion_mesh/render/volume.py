"""Volume rendering: rays through a field, skipping what an occupancy grid knows to be empty, to a Render."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from dreamfusion_mesh.contracts import FieldQuery, Shader
from dreamfusion_mesh.kernels.march import Samples, accumulate, composite_weights, march
from dreamfusion_mesh.records import Render, Views
from dreamfusion_mesh.render.cameras import rays

_CHUNK = 2**18  # samples at once where no gradient is asked for
_MAX_OPTICAL_DEPTH = -math.log(1e-4)  # what lies behind it is not sampled: no pixel differs by more than 1e-4
_MAX_WAVES = 4  # in which samples are evaluated
_MIN_SAVING = 0.1  # share of the samples that a wave must leave out to be worth its cost


class OccupancyGrid(nn.Module):
    """Where density was found lately, in cells of the box [-half_extent, half_extent]^3 (instant-NGP, arXiv:2201.05989, appendix C).

    A decayed maximum of the density at a random point of each cell; a cell above min(mean, threshold), or beside one, is occupied.
    Fully occupied before the first update. Both buffers belong to the checkpoint:

    values    [G, G, G] float  density per scene unit, indexed [x, y, z]
    occupied  [G, G, G] bool
    """

    values: Tensor
    occupied: Tensor

    def __init__(
        self,
        size: int,
        half_extent: float = 1.0,
        device: torch.device | str = "cpu",
        threshold: float = 0.5,
        decay: float = 0.95,
        warm_up: int = 256,
    ) -> None:
        """threshold: density per scene unit; decay: an update; warm_up: training steps in which an update visits every cell, not half."""
        super().__init__()
        if size < 1 or half_extent <= 0 or threshold < 0 or not 0 <= decay < 1:
            given = f"size {size}, half_extent {half_extent}, threshold {threshold}, decay {decay}"
            raise ValueError(f"OccupancyGrid: {given}, expected at least 1, above 0, at least 0 and in [0, 1)")
        self.half_extent, self.threshold, self.decay, self.warm_up = half_extent, threshold, decay, warm_up
        self.register_buffer("values", torch.zeros(size, size, size, device=device))
        self.register_buffer("occupied", torch.ones(size, size, size, dtype=torch.bool, device=device))

    @property
    def size(self) -> int:
        """Cells along an axis."""
        return self.values.shape[0]

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest corner [3] of what is occupied, scene units; of the whole box where nothing is."""
        found = self.occupied.nonzero() if bool(self.occupied.any()) else torch.ones_like(self.occupied).nonzero()
        low, high = (found.amin(dim=0), found.amax(dim=0) + 1)
        return (low * (2 / self.size) - 1) * self.half_extent, (high * (2 / self.size) - 1) * self.half_extent

    @torch.no_grad()
    def update(self, density: Callable[[Tensor], Tensor], draws: torch.Generator, step: int) -> None:
        """Take density (points [N, 3] -> [N]) at a random point of every cell, or, from training step `warm_up` on, of a random half."""
        count, device = self.size**3, self.values.device
        cells = torch.arange(count, device=device) if step < self.warm_up else random_cells(draws, count, device)
        spots = torch.stack(torch.unravel_index(cells, (self.size,) * 3), dim=1) + uniform(draws, (len(cells), 3), self.values)
        points = (spots * (2 / self.size) - 1) * self.half_extent
        found = torch.cat([density(part) for part in points.split(_CHUNK)])
        flat = self.values.view(-1)
        flat[cells] = torch.maximum(flat[cells] * self.decay, found)
        level = flat.mean().clamp_max(self.threshold)
        above = (self.values > level)[None, None].to(self.values.dtype)
        self.occupied.copy_(max_pool3d(above, 3, stride=1, padding=1)[0, 0] > 0)


def render_volume(
    field: FieldQuery,
    occupancy: OccupancyGrid,
    views: Views,
    shade: Shader,
    samples: int,
    draws: torch.Generator,
    needs_normals: bool,
    jitter: bool = True,
) -> Render:
    """The field as `views` see it, by emission and absorption (NeRF, arXiv:2003.08934, eq. 3) in front of the views' backgrounds.

    Empty cells are skipped, and what lies behind an optical depth of -ln(1e-4) is left out once enough of it is expected.

    field          (points [N, 3], whether normals are wanted) -> FieldSample; differentiable as the field is
    shade          (albedo [N, 3], normals [N, 3] or None, view [N]) -> rgb [N, 3]
    samples        over the box's space diagonal: a step is 2 sqrt(3) half_extent / samples
    draws          one number a ray, where in its steps the ray is sampled; with jitter False none are taken and the middles are sampled
    needs_normals  False: the Render's normal and orientation are zero, and shade gets None
    Orientation is sum of w_i max(0, n_i . d)^2, with no gradient in the weights w_i (DreamFusion, arXiv:2209.14988, eq. 11).
    Raises ValueError where samples is below 1 or the rays need 2^31 samples.
    """
    if samples < 1:
        raise ValueError(f"samples {samples}: expected at least 1")
    origins, directions = (part.reshape(-1, 3).contiguous() for part in rays(views.cameras))
    count = origins.shape[0]
    start = uniform(draws, (count,), origins) if jitter else torch.full_like(origins[:, 0], 0.5)
    step = 2 * math.sqrt(3) * occupancy.half_extent / samples
    found = march(origins, directions, occupancy.occupied, occupancy.half_extent, step, start, occupancy.values)

    def evaluate(some: Samples) -> tuple[Tensor, Tensor]:
        return _sampled(field, shade, some, origins, directions, views, needs_normals)

    found, depths, values = _visible(evaluate, found)
    weights = composite_weights(depths, found.offsets)
    sums = accumulate(weights[:, None] * values, found.offsets)
    penalty = _orientation(weights, values[:, 6:9], directions[found.ray], found.offsets) if needs_normals else sums.new_zeros(count, 1)
    return _image(sums, penalty, views)


def uniform(draws: torch.Generator, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Numbers in [0, 1) where `like` is; drawn on the CPU, so that a seed gives the same on every device."""
    return torch.rand(shape, generator=draws).to(like)


def random_cells(draws: torch.Generator, count: int, device: torch.device) -> Tensor:
    """A random half of `count` cells, rounded up; drawn on the CPU, likewise."""
    return torch.randperm(count, generator=draws)[: (count + 1) // 2].to(device)


def _visible(evaluate: Callable[[Samples], tuple[Tensor, Tensor]], found: Samples) -> tuple[Samples, Tensor, Tensor]:
    """The samples that matter, with what `evaluate` gives for them; the rest lies behind an optical depth of _MAX_OPTICAL_DEPTH.

    Evaluated in waves: each goes as far into a ray as what was found so far, and what is expected from there on, lets light through.
    The expectation only says where a wave stops, so a wrong one costs time and changes nothing.
    """
    rows = torch.arange(len(found.t), device=found.t.device)
    known = torch.zeros_like(found.offsets[1:], dtype=found.t.dtype)  # optical depth of each ray as far as it was evaluated
    expected = torch.zeros_like(known)  # up to there
    waves: list[tuple[Tensor, Tensor, Tensor]] = []
    while len(rows):
        ray = found.ray[rows]
        near = known[ray] + found.ahead[rows] - expected[ray] <= _MAX_OPTICAL_DEPTH
        if len(waves) == _MAX_WAVES - 1 or int(near.sum()) >= len(rows) - _MIN_SAVING * len(found.t):
            near = torch.ones_like(near)
            if not waves:
                break
        part = found.pick(rows[near])
        waves.append((rows[near], *evaluate(part)))
        known = known + accumulate(waves[-1][1].detach()[:, None], part.offsets)[:, 0]
        rows = rows[~near]
        rows = rows[known[found.ray[rows]] <= _MAX_OPTICAL_DEPTH]
        expected = torch.zeros_like(known).scatter_reduce(0, found.ray[rows], found.ahead[rows], "amin", include_self=False)
    if not waves:
        return found, *evaluate(found)
    rows, order = torch.cat([wave[0] for wave in waves]).sort()
    depths, values = (torch.cat([wave[i] for wave in waves]).index_select(0, order) for i in (1, 2))
    return found.pick(rows), depths, values


def _sampled(
    field: FieldQuery, shade: Shader, found: Samples, origins: Tensor, directions: Tensor, views: Views, needs_normals: bool
) -> tuple[Tensor, Tensor]:
    """Optical depth [S] and what is composited [S, 11]: rgb, albedo, normal, distance, one."""
    if not torch.is_grad_enabled() and len(found.t) > _CHUNK:
        parts = [
            _sampled(field, shade, found.pick(rows), origins, directions, views, needs_normals)
            for rows in torch.arange(len(found.t), device=found.t.device).split(_CHUNK)
        ]
        return torch.cat([depths for depths, _ in parts]), torch.cat([values for _, values in parts])
    points = origins[found.ray] + directions[found.ray] * found.t[:, None]
    sample = field(points, needs_normals)
    view = found.ray // (views.cameras.height * views.cameras.width)
    rgb = shade(sample.albedo, sample.normals, view)
    normals = sample.normals if sample.normals is not None else torch.zeros_like(sample.albedo)
    distance = found.t[:, None]
    return sample.density * found.width, torch.cat((rgb, sample.albedo, normals, distance, torch.ones_like(distance)), dim=1)


def _orientation(weights: Tensor, normals: Tensor, directions: Tensor, offsets: Tensor) -> Tensor:
    away = (normals * directions).sum(dim=1).clamp_min(0)
    return accumulate((weights.detach() * away.square())[:, None], offsets)


def _image(sums: Tensor, penalty: Tensor, views: Views) -> Render:
    shape = (len(views), views.cameras.height, views.cameras.width, -1)
    rgb, albedo, normal, depth, alpha = sums.reshape(shape).split((3, 3, 3, 1, 1), dim=3)
    behind = (1 - alpha) * views.background[:, None, None, :]
    return Render(rgb + behind, alpha, albedo, normal, depth, penalty.reshape(shape))
