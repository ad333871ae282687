"""Ray march over an occupancy grid, and the volume rendering integral on the packed samples it gives.

Packed means: the samples of all rays lie one after another, those of ray r in rows offsets[r] to offsets[r + 1], front to back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels import march_warp as kernels
from dreamfusion_mesh.kernels.launch import as_warp, launch

_SMALLEST_SLICE = 256  # rays; each is a loop of its own
_MOST_SAMPLES = 2**31 - 1  # what the kernels can count to


@dataclass(frozen=True, eq=False)
class Samples:
    """Where the rays are sampled, packed.

    ray      [S] int64      ascending
    t        [S]            distance along the ray, in lengths of its direction
    width    [S]            length of the ray that the sample stands for
    ahead    [S]            optical depth expected in front of the sample, by march's `expected`
    offsets  [R + 1] int64  ray r owns rows offsets[r] to offsets[r + 1]
    """

    ray: Tensor
    t: Tensor
    width: Tensor
    ahead: Tensor
    offsets: Tensor

    def pick(self, rows: Tensor) -> Samples:
        """The samples of these rows (ascending, [M] int64) alone; every ray stays, if only with none."""
        counts = torch.bincount(self.ray[rows], minlength=len(self.offsets) - 1)
        offsets = torch.cat((counts.new_zeros(1), counts.cumsum(dim=0)))
        return Samples(self.ray[rows], self.t[rows], self.width[rows], self.ahead[rows], offsets)


@torch.no_grad()
def march(
    origins: Tensor, directions: Tensor, occupied: Tensor, half_extent: float, step: float, jitter: Tensor, expected: Tensor | None = None
) -> Samples:
    """One sample in each piece of `step` that a ray's way through the box [-half_extent, half_extent]^3 is cut into, save in empty cells.

    origins, directions  [R, 3] float32; unit directions make t and width scene units
    occupied             [G, G, G] bool or uint8, indexed [x, y, z]; the cell at the sample decides
    jitter               [R] float32 in [0, 1): where in its pieces a ray is sampled, 0.5 for their middles
    expected             [G, G, G] float32: a cell's density as last known, which `ahead` adds up; without it `ahead` is 0
    The last piece is shorter, so that the widths of an occupied box add up to the way through it. Differentiable in nothing.
    Raises ValueError on another shape or dtype, a step or extent not above 0, or 2^31 samples or more.
    """
    _check_march(origins, directions, occupied, jitter, expected)
    if not (step > 0 and half_extent > 0):
        raise ValueError(f"step {step}, half_extent {half_extent}: expected both above 0")
    expected = origins.new_empty(0, 0, 0) if expected is None else expected
    count, device = origins.shape[0], origins.device
    given = [
        *(as_warp(part.contiguous(), wp.vec3) for part in (origins, directions)),
        as_warp(occupied.contiguous().view(torch.uint8), wp.uint8),
        as_warp(expected.contiguous(), wp.float32),
        as_warp(jitter.contiguous(), wp.float32),
    ]
    counts = torch.zeros(count, dtype=torch.int32, device=device)
    offsets = torch.zeros(count + 1, dtype=torch.int64, device=device)

    def run(fill: int, ray: Tensor, *values: Tensor) -> None:
        made = [as_warp(counts, wp.int32), as_warp(offsets, wp.int64), as_warp(ray, wp.int64)]
        made += [as_warp(value, wp.float32) for value in values]
        launch(kernels.march, count, [*given, half_extent, step, fill, *made], device, _SMALLEST_SLICE)

    run(0, offsets, *(origins.new_empty(0) for _ in range(3)))
    torch.cumsum(counts, 0, out=offsets[1:])
    total = int(offsets[-1])
    if total > _MOST_SAMPLES:
        raise ValueError(f"march: {total} samples, at most {_MOST_SAMPLES} are possible; use fewer rays, a longer step or an emptier grid")
    ray = torch.empty(total, dtype=torch.int64, device=device)
    t, width, ahead = (origins.new_empty(total) for _ in range(3))
    run(1, ray, t, width, ahead)
    return Samples(ray, t, width, ahead, offsets)


def composite_weights(optical_depth: Tensor, offsets: Tensor) -> Tensor:
    """w_i = T_i (1 - exp(-d_i)) with T_i = exp(-sum of the d_j in front), per ray.   Source: Max 1995, as in NeRF, arXiv:2003.08934, eq. 3.

    optical_depth [S] float32 >= 0, density times width; offsets [R + 1] int64. Differentiable once in optical_depth; the weights of a ray
    sum to 1 - exp(-its whole depth). Raises ValueError on another shape or dtype.
    """
    _check("optical_depth", optical_depth, (optical_depth.shape[0],))
    _check_offsets(offsets)
    result: Tensor = _Composite.apply(optical_depth, offsets)
    return result


def accumulate(values: Tensor, offsets: Tensor) -> Tensor:
    """Sum of each ray's samples, in their order: [S, C] float32 and [R + 1] int64 give [R, C].

    Differentiable any number of times in values. Raises ValueError on another shape or dtype.
    """
    _check("values", values, (values.shape[0], values.shape[-1]))
    _check_offsets(offsets)
    result: Tensor = _Accumulate.apply(values, offsets)
    return result


def _check_march(origins: Tensor, directions: Tensor, occupied: Tensor, jitter: Tensor, expected: Tensor | None) -> None:
    count, size = origins.shape[0], occupied.shape[0]
    for name, value, shape in (("origins", origins, (count, 3)), ("directions", directions, (count, 3)), ("jitter", jitter, (count,))):
        _check(name, value, shape)
    if occupied.shape != (size, size, size) or size == 0 or occupied.dtype not in (torch.bool, torch.uint8):
        raise ValueError(f"occupied: {occupied.dtype} {list(occupied.shape)}, expected bool or uint8 [G, G, G]")
    if expected is not None:
        _check("expected", expected, (size, size, size))


def _check(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if value.shape != shape or value.dtype != torch.float32:
        raise ValueError(f"{name}: {value.dtype} {list(value.shape)}, expected torch.float32 {list(shape)}")


def _check_offsets(offsets: Tensor) -> None:
    if offsets.dim() != 1 or offsets.shape[0] == 0 or offsets.dtype != torch.int64:
        raise ValueError(f"offsets: {offsets.dtype} {list(offsets.shape)}, expected torch.int64 [rays + 1]")


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, depths: Tensor, offsets: Tensor) -> Tensor:
        weights, behind = (torch.empty_like(depths, memory_format=torch.contiguous_format) for _ in range(2))
        _each_ray(kernels.composite, offsets, [depths], [weights, behind])
        ctx.save_for_backward(weights, behind, offsets)
        return weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        weights, behind, offsets = ctx.saved_tensors
        gradient = torch.empty_like(weights)
        _each_ray(kernels.composite_gradient, offsets, [upstream, weights, behind], [gradient])
        return gradient, None


class _Accumulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(offsets)
        ctx.samples = values.shape[0]
        sums = values.new_empty(offsets.shape[0] - 1, values.shape[1])
        _each_ray(kernels.accumulate, offsets, [values], [sums])
        return sums

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (offsets,) = ctx.saved_tensors
        result: Tensor = _Spread.apply(upstream, offsets, ctx.samples)
        return result, None


class _Spread(torch.autograd.Function):
    """Each ray's row for each of its samples: the transpose of accumulate."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, offsets: Tensor, samples: int) -> Tensor:
        ctx.save_for_backward(offsets)
        made = rows.new_empty(samples, rows.shape[1])
        _each_ray(kernels.spread, offsets, [rows], [made])
        return made

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (offsets,) = ctx.saved_tensors
        result: Tensor = _Accumulate.apply(upstream, offsets)
        return result, None, None


def _each_ray(kernel: Any, offsets: Tensor, given: list[Tensor], made: list[Tensor]) -> None:
    """The kernel takes what is given, the offsets, then what it makes."""
    arguments = [as_warp(tensor.contiguous(), wp.float32) for tensor in (*given, *made)]
    arguments.insert(len(given), as_warp(offsets.contiguous(), wp.int64))
    launch(kernel, offsets.shape[0] - 1, arguments, offsets.device, _SMALLEST_SLICE)
