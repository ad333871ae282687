"""Charts into one square, as large as they fit, with gaps that hold down to a mip level.

The square is a grid of cells of a few texels. A chart takes every cell it touches, and placed charts have whole empty cells between them,
so the gap is guaranteed in texels whatever a rasterizer's rounding. The grid is one long integer, row after row: shifting and or-ing it by
the runs of a chart's rows finds every position at which the chart collides at once, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.asset.uv.charts import Charts
from dreamfusion_mesh.geometry.areas import uv_areas

_GRID = 256  # cells a side, about: finer packs tighter and takes longer
_ANGLES = np.deg2rad(np.arange(0.0, 90.0, 3.0))
_FIRST_SHARE, _ROUNDS = 0.65, 8
_TRIES = 400  # charts placed at each scale, over all orders; one order is always tried
_SLACK = 1 / 64  # cells by which a chart is held to be larger, so that rounding moves no texel over a cell's border
MIN_DIAMETER = 10.0  # texels across the largest disc in a chart; narrower ones vanish in the first mips, so they are enlarged
_DISC_CELLS, _LEAST_CELLS, _ALL_CELLS = 4096, 400, 2_000_000  # a chart's area, and all charts', when their largest discs are measured
_MAX_ENLARGED_FACES = 0.03  # of the faces, so that all others keep one texel density
_MAX_ENLARGEMENT = 4.0
_CHUNK = 2_000_000  # pairs of face and cell tested at once


class DoesNotFit(ValueError):
    """Too many charts, or too much padding, for the texture."""


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


def pack(charts: Charts, size: int, padding: int) -> np.ndarray:
    """[U, 2] float64 UVs in [0, 1]^2 for charts that share one unit. Nothing is mirrored; all but the narrow ones have one scale.

    size      texels a side
    padding   texels; gaps between charts are at least twice this, those to the border at least this
    Raises DoesNotFit where there are too many charts to fit at any useful scale.
    """
    grid = _grid(size, padding)
    local = _straighten(charts)
    area = float(uv_areas(local[charts.face_uvs]).sum())
    low, high, best = 0.0, 1.0, None
    cannot_fit = _too_full(np.ones(charts.count), grid)
    discs = np.ones(0) if cannot_fit else inscribed_diameters(charts)
    for turn in range(0 if cannot_fit else _ROUNDS):
        share = _FIRST_SHARE if turn == 0 else (low + high) / 2
        scale = np.sqrt(share / area) * grid.count
        placed = _place_charts(charts, local * _scales(charts, discs, scale, grid)[:, None] + 2 * _SLACK, grid)
        low, high, best = (low, share, best) if placed is None else (share, high, placed)
    if best is None:
        raise DoesNotFit(f"{charts.count} charts do not fit into {size} x {size} texels with gaps of {2 * padding}; use a larger texture")
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


def _straighten(charts: Charts) -> np.ndarray:
    """[U, 2] charts turned so that their bounding boxes are smallest, lower left corners at the origin."""
    owner = charts.owner
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(charts.count))
    boxes = []
    for angle in _ANGLES:
        turned = (charts.uvs @ _turn(angle))[order]
        extent = np.maximum.reduceat(turned, starts) - np.minimum.reduceat(turned, starts)
        boxes.append(extent.prod(axis=1))
    angles = _ANGLES[np.argmin(np.stack(boxes), axis=0)][owner]
    cos, sin = np.cos(angles), np.sin(angles)
    u, v = charts.uvs.T
    turned = np.stack([u * cos - v * sin, u * sin + v * cos], axis=1)
    return turned - np.minimum.reduceat(turned[order], starts)[owner]


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _extents(charts: Charts, local: np.ndarray) -> np.ndarray:
    """[count, 2] sizes of charts whose lower left corners are at the origin."""
    extent = np.zeros((charts.count, 2))
    np.maximum.at(extent, charts.owner, local)
    return extent


def inscribed_diameters(charts: Charts) -> np.ndarray:
    """[count] how wide the largest disc inside each chart is, in the charts' unit; about 3 % exact, more so for compact charts."""
    from scipy.ndimage import distance_transform_edt

    local = _straighten(charts)
    area = np.bincount(charts.chart, uv_areas(local[charts.face_uvs]))
    scale = np.sqrt(np.clip(_ALL_CELLS / charts.count, _LEAST_CELLS, _DISC_CELLS) / area)
    bitmaps = _bitmaps(charts, local * scale[charts.owner, None] + 2 * _SLACK)
    radii = np.array([distance_transform_edt(np.pad(bitmap, 1)).max() - 1 for bitmap in bitmaps])  # a cell that is touched is not full
    return 2 * np.maximum(radii, 0.5) / scale


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


def _place_charts(charts: Charts, local: np.ndarray, grid: _Grid) -> np.ndarray | None:
    """[U, 2] positions in cells; None where no order that is tried fits every chart. With few charts more orders are tried."""
    bitmaps = _bitmaps(charts, local)
    cells = np.array([int(bitmap.sum()) for bitmap in bitmaps])
    if _too_full(cells, grid) or max(max(bitmap.shape) for bitmap in bitmaps) > grid.count:
        return None
    sizes = [(max(b.shape), int(n), sum(b.shape), min(b.shape)) for b, n in zip(bitmaps, cells, strict=True)]
    shapes = [_turns(bitmap, grid) for bitmap in bitmaps]
    orders = [(measure, by_top) for measure in range(4) for by_top in (True, False)]
    for measure, by_top in orders[: max(1, min(len(orders), _TRIES // charts.count))]:
        largest = sorted(range(charts.count), key=lambda index: (-sizes[index][measure], -sizes[index][1], index))
        found = _place_in_order(largest, shapes, by_top, grid)
        if found is not None:
            return _moved(charts, local, bitmaps, *found)
    return None


def _too_full(cells: np.ndarray, grid: _Grid) -> bool:
    """Can charts of so many cells [count] not fit in any order? Each grown by the gap to one side they are still apart, and by Brunn and
    Minkowski a chart of n cells is then at least (sqrt(n) + gap)^2 large.
    """
    return bool(((np.sqrt(cells) + grid.gap) ** 2).sum() > (grid.count + grid.gap) ** 2)


def _place_in_order(order: list[int], shapes: list[list[_Shape]], by_top: bool, grid: _Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """Turns [count] and corners [count, 2] of charts placed one after the other, each where its top, or its bottom, is lowest."""
    taken = 0
    turns = np.zeros(len(order), dtype=np.int64)
    corners = np.zeros((len(order), 2))
    for index in order:
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


def _bitmaps(charts: Charts, local: np.ndarray) -> list[np.ndarray]:
    """Of each chart the cells [height, width] bool that it touches: separating axes of every face against every cell of its box."""
    size = np.floor(_extents(charts, local) + _SLACK).astype(np.int64) + 1
    offset = np.concatenate([[0], np.cumsum(size.prod(axis=1))])
    cells = np.zeros(offset[-1], dtype=bool)
    corners = local[charts.face_uvs]
    low = np.floor(corners.min(axis=1) - _SLACK).astype(np.int64)
    span = np.floor(corners.max(axis=1) + _SLACK).astype(np.int64) - low + 1
    pairs = span.prod(axis=1)
    for rows in np.array_split(np.arange(len(pairs)), int(pairs.sum()) // _CHUNK + 1):
        face = np.repeat(rows, pairs[rows])
        step = np.arange(len(face)) - np.repeat(np.cumsum(pairs[rows]) - pairs[rows], pairs[rows])
        x, y = low[face, 0] + step % span[face, 0], low[face, 1] + step // span[face, 0]
        touched = np.ones(len(face), dtype=bool)
        for i in range(3):
            a, b = corners[face, i], corners[face, (i + 1) % 3]
            inward_x, inward_y = a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]
            reach = inward_x.clip(0) + inward_y.clip(0) + _SLACK * (np.abs(inward_x) + np.abs(inward_y))  # of the corner farthest inward
            touched &= inward_x * (x - a[:, 0]) + inward_y * (y - a[:, 1]) + reach >= 0
        chart = charts.chart[face]
        cells[(offset[chart] + y * size[chart, 0] + x)[touched]] = True
    return [cells[offset[i] : offset[i + 1]].reshape(size[i, 1], size[i, 0]) for i in range(charts.count)]
