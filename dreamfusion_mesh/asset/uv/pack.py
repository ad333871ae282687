"""Charts into one square, as large as they fit, with gaps that hold down to a mip level.

The square is a grid of cells of a few texels. A chart takes every cell it touches, and placed charts have whole empty cells between them,
so the gap is guaranteed in texels whatever a rasterizer's rounding. The grid is one long integer, row after row: shifting and or-ing it by
the runs of a chart's rows finds every position at which the chart collides at once, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.asset.deadline import Deadline, TimeIsUp
from dreamfusion_mesh.asset.uv.bitmaps import SLACK, chart_bitmaps, extents, inscribed_diameters, straighten
from dreamfusion_mesh.asset.uv.charts import Charts
from dreamfusion_mesh.asset.uv.shelves import DoesNotFit, pack_on_shelves
from dreamfusion_mesh.geometry.areas import uv_areas

_GRID = 256  # cells a side, about: finer packs tighter and takes longer
_FIRST_SHARE, _ROUNDS = 0.65, 8
_TRIES = 400  # charts placed at each scale, over all orders; one order is always tried
MIN_DIAMETER = 10.0  # texels across the largest disc in a chart; narrower ones vanish in the first mips, so they are enlarged
_MAX_BOXES = 100  # squares that the charts' boxes fill; only of slanting needles do they fill so many
_MAX_ENLARGED_FACES = 0.03  # of the faces, so that all others keep one texel density
_MAX_ENLARGEMENT = 4.0


@dataclass(frozen=True)
class _Grid:
    """`count` cells a side of `cell` texels each, `gap` empty cells between charts, `border` texels left over at its low sides."""

    count: int
    cell: int
    gap: int
    border: int

    @property
    def stride(self) -> int:
        """Bits a row: room for the gap around a chart at the border."""
        return self.count + 2 * self.gap


@dataclass(frozen=True, eq=False)
class _Shape:
    """One chart in one of four turns: its box in cells, the runs of its rows (first bit, length), and its cells grown by the gap."""

    width: int
    height: int
    runs: list[tuple[int, int]]
    grown: int


def pack(charts: Charts, size: int, padding: int, deadline: Deadline) -> np.ndarray:
    """[U, 2] float64 UVs in [0, 1]^2 for charts that share one unit. Nothing is mirrored; all but the narrow ones have one scale.

    size      texels a side
    padding   texels; gaps between charts are at least twice this, those to the border at least this
    deadline  where it passes, the best so far is taken, or the charts' boxes are put on shelves
    Raises DoesNotFit where there are too many charts to fit at any useful scale.
    """
    grid = _grid(size, padding)
    local = straighten(charts, as_they_are=deadline.passed)
    area = float(uv_areas(local[charts.face_uvs]).sum())
    low, high, best = 0.0, min(1.0, area / float(extents(charts, local).max()) ** 2), None  # a chart is no longer than the square
    try:
        deadline.check()
        cannot_fit = _too_full(np.ones(charts.count), grid)
        discs = np.ones(0) if cannot_fit else inscribed_diameters(charts, deadline)
        for turn in range(0 if cannot_fit else _ROUNDS):
            share = min(_FIRST_SHARE, high) if turn == 0 else (low + high) / 2
            scale = np.sqrt(share / area) * grid.count
            placed = _place_charts(charts, local * _scales(charts, discs, scale, grid)[:, None] + 2 * SLACK, grid, deadline)
            low, high, best = (low, share, best) if placed is None else (share, high, placed)
    except TimeIsUp:
        if best is None:
            return pack_on_shelves(charts, local, size, padding)
    if best is None:
        raise DoesNotFit.of(charts.count, size, padding)
    return (best * grid.cell + grid.border) / size


def _grid(size: int, padding: int) -> _Grid:
    gap = 2 * padding
    cell = max(1, size // _GRID)
    if gap and cell > gap:
        cell = max(gap, size // (2 * _GRID))
    count = (size - gap) // cell
    if count < 1:
        raise DoesNotFit(f"padding of {padding} leaves nothing of a texture of {size} texels; use a larger texture or less padding")
    return _Grid(count, cell, max(1, -(-gap // cell)), (size - count * cell) // 2)


def _scales(charts: Charts, discs: np.ndarray, scale: float, grid: _Grid) -> np.ndarray:
    """[U] scale to cells; the narrow charts with the fewest faces get a larger one."""
    factor = np.clip(MIN_DIAMETER / (discs * scale * grid.cell), 1.0, _MAX_ENLARGEMENT)
    faces = np.bincount(charts.chart)
    narrow = np.flatnonzero(factor > 1)
    narrow = narrow[np.argsort(faces[narrow], kind="stable")]
    allowed = narrow[np.cumsum(faces[narrow]) <= max(2.0, _MAX_ENLARGED_FACES * len(charts.chart))]
    chosen = np.ones(charts.count)
    chosen[allowed] = factor[allowed]
    return (chosen * scale)[charts.owner]


def _place_charts(charts: Charts, local: np.ndarray, grid: _Grid, deadline: Deadline) -> np.ndarray | None:
    """[U, 2] positions in cells; None where no order that is tried fits every chart. With few charts more orders are tried."""
    boxes = extents(charts, local)
    if boxes.max() > grid.count + 1 or (boxes + 1).prod(axis=1).sum() > _MAX_BOXES * grid.count**2:
        return None
    bitmaps = chart_bitmaps(charts, local, deadline)
    cells = np.array([int(bitmap.sum()) for bitmap in bitmaps])
    if _too_full(cells, grid) or max(max(bitmap.shape) for bitmap in bitmaps) > grid.count:
        return None
    sizes = [(max(b.shape), int(n), sum(b.shape), min(b.shape)) for b, n in zip(bitmaps, cells, strict=True)]
    shapes = []
    for bitmap in bitmaps:
        deadline.check()
        shapes.append(_turns(bitmap, grid))
    orders = [(measure, by_top) for measure in range(4) for by_top in (True, False)]
    for measure, by_top in orders[: max(1, min(len(orders), _TRIES // charts.count))]:
        largest = sorted(range(charts.count), key=lambda index: (-sizes[index][measure], -sizes[index][1], index))
        found = _place_in_order(largest, shapes, by_top, grid, deadline)
        if found is not None:
            return _moved(charts, local, bitmaps, *found)
    return None


def _too_full(cells: np.ndarray, grid: _Grid) -> bool:
    """Can charts of so many cells [count] not fit in any order? Each grown by the gap to one side they are still apart, and by Brunn and
    Minkowski a chart of n cells is then at least (sqrt(n) + gap)^2 large.
    """
    return bool(((np.sqrt(cells) + grid.gap) ** 2).sum() > (grid.count + grid.gap) ** 2)


def _place_in_order(
    order: list[int], shapes: list[list[_Shape]], by_top: bool, grid: _Grid, deadline: Deadline
) -> tuple[np.ndarray, np.ndarray] | None:
    """Turns [count] and corners [count, 2] of charts placed one after the other, each where its top, or its bottom, is lowest."""
    taken = 0
    turns = np.zeros(len(order), dtype=np.int64)
    corners = np.zeros((len(order), 2))
    for index in order:
        deadline.check()
        found = _lowest_position(taken, shapes[index], by_top, grid)
        if found is None:
            return None
        turns[index], corners[index], taken = found
    return turns, corners


def _moved(charts: Charts, local: np.ndarray, bitmaps: list[np.ndarray], turns: np.ndarray, corners: np.ndarray) -> np.ndarray:
    owner = charts.owner
    box = np.array([bitmap.shape for bitmap in bitmaps], dtype=np.float64)[owner]  # height, width
    u, v = local.T
    for turn in range(1, 4):
        more = turns[owner] >= turn
        u, v = np.where(more, box[:, 0] - v, u), np.where(more, u, v)
        box = np.where(more[:, None], box[:, ::-1], box)
    return np.stack([u, v], axis=1) + corners[owner]


def _lowest_position(taken: int, shapes: list[_Shape], by_top: bool, grid: _Grid) -> tuple[int, tuple[int, int], int] | None:
    """Turn and corner (x, y) of the chart where its top or bottom is lowest, and the grid with the chart in it."""
    best: tuple[int, int, int, int, int] | None = None
    occupied = [taken]
    for turn, shape in enumerate(shapes):
        bit = _first_free(occupied, shape, grid)
        if bit is not None:
            y, x = divmod(bit, grid.stride)
            level = y + shape.height if by_top else y
            if best is None or (level, x) < best[:2]:
                best = (level, x, y, turn, shape.grown << bit)
    if best is None:
        return None
    _, x, y, turn, grown = best
    return turn, (x, y), taken | grown


def _first_free(occupied: list[int], shape: _Shape, grid: _Grid) -> int | None:
    """Lowest bit at which the chart's corner may lie. `occupied[k]` has a bit set where any of the next 2^k is taken; it grows here."""
    hit = 0
    for start, length in shape.runs:
        power = length.bit_length() - 1
        while len(occupied) <= power:
            occupied.append(occupied[-1] | occupied[-1] >> (1 << (len(occupied) - 1)))
        hit |= occupied[power] >> start
        if length > 1 << power:
            hit |= occupied[power] >> (start + length - (1 << power))
    row = (1 << (grid.count - shape.width + 1)) - 1
    rows = ((1 << grid.stride * (grid.count - shape.height + 1)) - 1) // ((1 << grid.stride) - 1)
    inside = row * rows
    free = inside ^ (inside & hit)
    return (free & -free).bit_length() - 1 if free else None


def _turns(bitmap: np.ndarray, grid: _Grid) -> list[_Shape]:
    """The chart as it is and turned by one, two and three quarters, counter-clockwise with y upwards."""
    shapes = []
    for _ in range(4):
        shapes.append(_shape(bitmap, grid))
        bitmap = bitmap.T[:, ::-1]
    return shapes


def _shape(bitmap: np.ndarray, grid: _Grid) -> _Shape:
    from scipy.ndimage import maximum_filter

    height, width = bitmap.shape
    flanks = np.diff(np.pad(bitmap, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(flanks == 1)
    ends = np.nonzero(flanks == -1)[1]
    firsts = (rows + grid.gap) * grid.stride + starts + grid.gap
    grown = maximum_filter(np.pad(bitmap, grid.gap), size=2 * grid.gap + 1)
    wide = np.zeros((len(grown), grid.stride), dtype=bool)
    wide[:, : grown.shape[1]] = grown
    bits = int.from_bytes(np.packbits(wide, bitorder="little").tobytes(), "little")
    return _Shape(width, height, list(zip(firsts.tolist(), (ends - starts).tolist(), strict=True)), bits)
