"""Multi-resolution hash encoding (Mueller et al., arXiv:2201.05989, section 3), with exact first and second derivatives.

A level is a grid of feature vectors read trilinearly. Levels whose (resolution + 1)^3 vertices fit into the table are stored densely, finer
ones share rows through a spatial hash. The encoding is linear in the table, so a few gathers and scatters are all its derivatives:

    encode            f(x)                           scatter                 its transpose in the table
    input_gradient    g = sum_c upstream_c df_c/dx   input_gradient_adjoint  its transpose in the table, and its derivative in upstream
                                                     curvature               its derivative in x
Scatters are deterministic on the CPU (a level's rows belong to one thread, which adds in the order of the points); CUDA adds atomically.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels.hashgrid_warp import kernels, vector
from dreamfusion_mesh.kernels.launch import as_warp, launch


@dataclass(frozen=True)
class HashGrid:
    """How a table's rows are laid out; level l owns rows offsets[l] to offsets[l] + sizes[l].

    features     values a row
    resolutions  cells along an axis, level by level, coarsest first
    sizes        rows of each level: (resolution + 1)^3 where dense, the table's size where hashed
    """

    features: int
    resolutions: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def levels(self) -> int:
        return len(self.resolutions)

    @property
    def rows(self) -> int:
        """Rows of the whole table."""
        return sum(self.sizes)

    @property
    def width(self) -> int:
        """Values of one encoded point, L * F; level l fills columns l * F to (l + 1) * F."""
        return self.levels * self.features

    @property
    def offsets(self) -> tuple[int, ...]:
        return tuple(sum(self.sizes[:level]) for level in range(self.levels))

    @property
    def hashed(self) -> tuple[bool, ...]:
        return tuple((n + 1) ** 3 > size for n, size in zip(self.resolutions, self.sizes, strict=True))


def hash_grid(levels: int, features: int, table_size_log2: int, coarsest: int, finest: int) -> HashGrid:
    """Resolutions grow geometrically from `coarsest` to `finest` (arXiv:2201.05989, eq. 2 and 3).

    Raises ValueError where features is not 1, 2 or 4, finest < coarsest, or a table would not fit 31-bit rows.
    """
    if features not in (1, 2, 4):
        raise ValueError(f"hash_grid: features {features}, expected 1, 2 or 4")
    if levels < 1 or coarsest < 1 or finest < coarsest or finest > 2**20:
        raise ValueError(f"hash_grid: {levels} levels from {coarsest} to {finest}, expected at least 1, rising, at most 2^20")
    if not 3 <= table_size_log2 <= 26:
        raise ValueError(f"hash_grid: table_size_log2 {table_size_log2}, expected 3 to 26")
    growth = (finest / coarsest) ** (1 / (levels - 1)) if levels > 1 else 1.0
    resolutions = tuple(math.floor(coarsest * growth**level + 1e-6) for level in range(levels))
    return HashGrid(features, resolutions, tuple(min((n + 1) ** 3, 2**table_size_log2) for n in resolutions))


def encode(points: Tensor, table: Tensor, grid: HashGrid) -> Tensor:
    """Features of points.   Source: arXiv:2201.05989, section 3.

    points  [N, 3] float32 in [0, 1]; what lies outside takes the value at the nearest point of the cube, with derivative zero
    table   [rows, F] float32
    returns [N, L * F]; differentiable twice in points and table
    Raises ValueError on another shape, dtype or device.
    """
    _check(points, table, grid)
    result: Tensor = _Encode.apply(points, table, grid)
    return result


def input_gradient(points: Tensor, table: Tensor, upstream: Tensor, grid: HashGrid) -> Tensor:
    """Gradient of sum(upstream * encode(points)) in points: [N, 3].

    upstream [N, L * F]. Differentiable once more in points (within its cell: trilinear interpolation has kinks on the faces), table and
    upstream. Raises ValueError on another shape, dtype or device.
    """
    _check(points, table, grid)
    if upstream.shape != (points.shape[0], grid.width) or upstream.dtype != torch.float32 or upstream.device != points.device:
        raise ValueError(
            f"upstream: {upstream.dtype} {list(upstream.shape)} on {upstream.device}, "
            f"expected torch.float32 [{points.shape[0]}, {grid.width}] on {points.device}"
        )
    result: Tensor = _InputGradient.apply(points, table, upstream, grid)
    return result


def _check(points: Tensor, table: Tensor, grid: HashGrid) -> None:
    if points.dim() != 2 or points.shape[1] != 3 or points.dtype != torch.float32:
        raise ValueError(f"points: {points.dtype} {list(points.shape)}, expected torch.float32 [N, 3]")
    if points.shape[0] * grid.levels >= 2**31:
        raise ValueError(f"points: {points.shape[0]} at {grid.levels} levels, the kernels count to 2^31; encode fewer at once")
    if table.shape != (grid.rows, grid.features) or table.dtype != torch.float32 or table.device != points.device:
        raise ValueError(
            f"table: {table.dtype} {list(table.shape)} on {table.device}, "
            f"expected torch.float32 [{grid.rows}, {grid.features}] on {points.device}"
        )


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, grid: HashGrid) -> Tensor:
        ctx.save_for_backward(points, table)
        ctx.grid = grid
        features = points.new_empty(points.shape[0], grid.width)
        _each_point("encode", points, grid, [table], [features])
        return features

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, table = ctx.saved_tensors
        in_points = _InputGradient.apply(points, table, upstream, ctx.grid) if ctx.needs_input_grad[0] else None
        in_table = _Scatter.apply(points, upstream, ctx.grid) if ctx.needs_input_grad[1] else None
        return in_points, in_table, None


class _Scatter(torch.autograd.Function):
    """The gradient of encode in its table; linear in upstream, so its own derivative is encode again."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, upstream: Tensor, grid: HashGrid) -> Tensor:
        ctx.save_for_backward(points, upstream)
        ctx.grid = grid
        gradient = points.new_zeros(grid.rows, grid.features)
        _each_level("scatter", points, grid, [upstream], [gradient])
        return gradient

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, upstream = ctx.saved_tensors
        in_points = _InputGradient.apply(points, direction, upstream, ctx.grid) if ctx.needs_input_grad[0] else None
        in_upstream = _Encode.apply(points, direction, ctx.grid) if ctx.needs_input_grad[1] else None
        return in_points, in_upstream, None


class _InputGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, upstream: Tensor, grid: HashGrid) -> Tensor:
        ctx.save_for_backward(points, table, upstream)
        ctx.grid = grid
        gradient = torch.empty_like(points, memory_format=torch.contiguous_format)
        _each_point("input_gradient", points, grid, [table, upstream], [gradient])
        return gradient

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        points, table, upstream = ctx.saved_tensors
        in_points = in_table = in_upstream = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:  # both walk the same corners, so one pass makes them
            in_table = torch.zeros_like(table, memory_format=torch.contiguous_format)
            in_upstream = torch.empty_like(upstream, memory_format=torch.contiguous_format)
            _each_level("input_gradient_adjoint", points, ctx.grid, [table, upstream, direction], [in_table, in_upstream])
        if ctx.needs_input_grad[0]:
            in_points = torch.empty_like(points, memory_format=torch.contiguous_format)
            _each_point("curvature", points, ctx.grid, [table, upstream, direction], [in_points])
        return in_points, in_table, in_upstream, None


def _each_point(name: str, points: Tensor, grid: HashGrid, given: list[Tensor], made: list[Tensor]) -> None:
    """One index a point; the kernel walks the levels."""
    layout, _ = _layout(grid, points.device)
    arguments = [_array(tensor, grid) for tensor in (points, *given, *made)]
    launch(kernels(grid.features)[name], points.shape[0], [*arguments, layout], points.device)


def _each_level(name: str, points: Tensor, grid: HashGrid, given: list[Tensor], made: list[Tensor]) -> None:
    """One index a level and point, levels outermost: on the CPU one thread adds all that a level's rows receive."""
    layout, order = _layout(grid, points.device)
    count = points.shape[0]
    arguments = [_array(tensor, grid) for tensor in (points, *given, *made)]
    launch(kernels(grid.features)[name], grid.levels * count, [*arguments, layout, order, count], points.device, granule=max(1, count))


def _array(tensor: Tensor, grid: HashGrid) -> Any:
    """Points and directions as rows of vec3, tables and encodings as rows of F values."""
    tensor = tensor.contiguous()
    if tensor.shape[1] == 3:
        return as_warp(tensor, wp.vec3)
    return as_warp(tensor.view(-1, grid.features), vector(grid.features))


@lru_cache(maxsize=64)
def _layout(grid: HashGrid, device: torch.device) -> tuple[Any, Any]:
    """Levels as (resolution, first row, rows, hashed), and the order in which scatters take them: odd ones last, to share the work."""
    rows = list(zip(grid.resolutions, grid.offsets, grid.sizes, map(int, grid.hashed), strict=True))
    order = [*range(0, grid.levels, 2), *range(1, grid.levels, 2)]
    layout = torch.tensor(rows, dtype=torch.int32, device=device)
    return as_warp(layout, wp.vec4i), as_warp(torch.tensor(order, dtype=torch.int32, device=device), wp.int32)
