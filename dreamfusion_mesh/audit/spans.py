"""Which grid cells a UV face covers, as spans of columns in rows: exact by centres, or every cell the face touches.

A span is one row of one face, so overlaps, coverage and gaps are counted by sorting spans, without an image of the grid. Rows come in bands
of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.geometry.areas import cross_2d

_SPANS_PER_BAND = 2_000_000  # worked on at once, about 200 bytes each
_UNITS = 1 << 24  # along the UV square's side, at most: float32 has no finer step above one half


@dataclass(frozen=True, eq=False)
class Spans:
    """Columns start <= x < stop of `row`, covered by `face`; all [N] int64."""

    face: np.ndarray
    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True, eq=False)
class Runs:
    """Columns start <= x < stop of `row` that have `label`, all [N] int64, by rows and beginnings. Those of one label and row are apart."""

    row: np.ndarray
    label: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def centre_spans(corner_uvs: np.ndarray, grid: int) -> Iterator[Spans]:
    """Cells of a grid x grid square whose centres lie in each face [F, 3, 2], UVs in [0, 1]; row 0 at v = 0.

    Exact in whole numbers, with a rule for centres on an edge that gives each to one of the two faces that share it (the top-left rule of
    rasterizers, mirrored for v upwards), so faces of one sheet never count a centre twice. Faces without area cover nothing.
    """
    half = max(1, _UNITS // (2 * grid))  # a cell is 2 * half units, its centre a whole number of them
    corners = np.rint(corner_uvs * (2.0 * grid * half)).astype(np.int64)
    doubled = cross_2d(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])  # areas, exact
    corners = np.where((doubled < 0)[:, None, None], corners[:, ::-1], corners)
    low = _ceil(corners[:, :, 1].min(axis=1) - half, 2 * half)
    high = (corners[:, :, 1].max(axis=1) - half) // (2 * half) + 1
    for face, row in _bands(np.maximum(low, 0), np.where(doubled == 0, 0, np.minimum(high, grid)), grid):
        start, stop = np.zeros(len(face), np.int64), np.full(len(face), grid)
        y = (2 * row + 1) * half
        for i in range(3):
            (ax, ay), (bx, by) = corners[face, i].T, corners[face, (i + 1) % 3].T
            dx, dy = bx - ax, by - ay
            owned = (dy < 0) | ((dy == 0) & (dx < 0))
            # the centre x is inside where dy * (x - ax) <= dx * (y - ay), strictly so on an edge that is not owned
            reach = dx * (y - ay) - np.where(owned, 0, 1)
            step = np.where(dy == 0, 1, dy)
            start = np.where(dy < 0, np.maximum(start, _ceil(_ceil(reach, step) + ax - half, 2 * half)), start)
            stop = np.where(dy > 0, np.minimum(stop, (reach // step + ax - half) // (2 * half) + 1), stop)
            stop = np.where((dy == 0) & (reach < 0), start, stop)
        kept = stop > start
        yield Spans(face[kept], row[kept], start[kept], stop[kept])


def touched_spans(corner_uvs: np.ndarray, grid: int) -> Iterator[Spans]:
    """Cells of a grid x grid square that each face [F, 3, 2] touches with more than a rounding error; UVs in [0, 1]."""
    corners = corner_uvs * float(grid)
    low = np.clip(np.floor(corners[:, :, 1].min(axis=1)), 0, grid - 1).astype(np.int64)
    high = np.clip(np.ceil(corners[:, :, 1].max(axis=1)), low + 1, grid).astype(np.int64)
    for face, row in _bands(low, high, grid):
        left, right = np.full(len(face), np.inf), np.full(len(face), -np.inf)
        for i in range(3):
            (ax, ay), (bx, by) = corners[face, i].T, corners[face, (i + 1) % 3].T
            inside = (np.minimum(ay, by) <= row + 1) & (np.maximum(ay, by) >= row)
            slope = np.divide(bx - ax, by - ay, out=np.zeros(len(face)), where=ay != by)
            for x, y in ((ax, ay), (bx, by)):
                across = x + (np.clip(y, row, row + 1) - y) * slope
                left = np.where(inside, np.minimum(left, across), left)
                right = np.where(inside, np.maximum(right, across), right)
        start = np.clip(np.floor(left + 1e-6), 0, grid - 1).astype(np.int64)
        yield Spans(face, row, start, np.clip(np.ceil(right - 1e-6), start + 1, grid).astype(np.int64))


def covered_cells(spans: Iterator[Spans], grid: int) -> tuple[int, int]:
    """How many cells some span covers, and how many times a cell is covered by a further one."""
    covered = overlapping = 0
    for band in spans:
        begin, length = _sorted(band.row * grid + band.start, band.stop - band.start)
        end = begin + length
        fresh = np.clip(_reached_before(end), begin, end)
        overlapping += int((fresh - begin).sum())
        covered += int((end - fresh).sum())
    return covered, overlapping


def label_runs(spans: Iterator[Spans], labels: np.ndarray, grid: int) -> Runs:
    """The spans as runs of the labels [F] of their faces."""
    parts = [_joined(band.row, labels[band.face], band.start, band.stop, grid) for band in spans]
    row, label, start, stop = (np.concatenate([part[i] for part in parts] or [np.zeros(0, np.int64)]) for i in range(4))
    return _in_order(row, label, start, stop, grid)


def label_image(spans: Iterator[Spans], labels: np.ndarray, grid: int) -> tuple[np.ndarray, int]:
    """Image [grid, grid] int32 of the label + 1 of a face in each cell, 0 where none, and how many times a cell has a further label.

    Painted run by run, so that faces that cover one another, as those of a tiled texture do, cost no more than their spans.
    """
    runs = label_runs(spans, labels, grid)
    begin, end = runs.row * grid + runs.start, runs.row * grid + runs.stop
    before = np.maximum(_reached_before(end), 0)
    fresh = np.clip(before, begin, end)
    values, lengths = np.zeros(2 * len(begin) + 1, np.int32), np.empty(2 * len(begin) + 1, np.int64)
    values[1::2], lengths[1::2] = runs.label + 1, end - fresh
    lengths[:-1:2], lengths[-1] = np.maximum(begin - before, 0), grid * grid - end.max(initial=0)
    return np.repeat(values, lengths).reshape(grid, grid), int((fresh - begin).sum())


def smallest_gap(runs: Runs, grid: int) -> int:
    """Free cells between the nearest two labels, along rows, columns or diagonals (0: none there); `grid` where there are fewer than two.

    Two labels are at most g cells apart where, in some g + 2 rows laid over one another, they are at most g columns apart. The number of
    rows is found by doubling, then by halves.
    """
    if len(runs.label) == 0 or runs.label.min() == runs.label.max():
        return grid
    windows = [runs]  # of 1, 2, 4 ... rows: all runs of rows r, r + 1 ... as one row r
    while not _closer(windows[-1], 2 ** (len(windows) - 1) - 1, grid):
        windows.append(_over(windows[-1], windows[-1], 2 ** (len(windows) - 1), grid))
    if len(windows) == 1:
        return 0
    rows, found = 2 ** (len(windows) - 2), windows[-2]
    for power in reversed(range(len(windows) - 2)):
        taller = _over(found, windows[power], rows, grid)
        if not _closer(taller, rows + 2**power - 1, grid):
            rows, found = rows + 2**power, taller
    return rows - 1


def _closer(runs: Runs, columns: int, grid: int) -> bool:
    """Whether two labels are less than so many columns apart in some row; one over the other counts as -1 columns or less."""
    differ = (runs.row[1:] == runs.row[:-1]) & (runs.label[1:] != runs.label[:-1])
    return columns >= grid or bool((differ & (runs.start[1:] - runs.stop[:-1] < columns)).any())


def _over(runs: Runs, others: Runs, shift: int, grid: int) -> Runs:
    """The runs, and in each row r those that `others` has in row r + shift."""
    kept = others.row >= shift
    row = np.concatenate([runs.row, others.row[kept] - shift])
    label, start, stop = (np.concatenate([getattr(runs, name), getattr(others, name)[kept]]) for name in ("label", "start", "stop"))
    row, label, start, stop = _joined(row, label, start, stop, grid)
    return _in_order(row, label, start, stop, grid)


def _joined(row: np.ndarray, label: np.ndarray, start: np.ndarray, stop: np.ndarray, grid: int) -> tuple[np.ndarray, ...]:
    """The spans of each label in each row with those that touch joined: row, label, start and stop, [N] each."""
    count = int(label.max(initial=0)) + 1
    base = (row * count + label) * (grid + 2)  # spans of two labels, or rows, never touch
    begin, length = _sorted(base + start, stop - start)
    end = begin + length
    opens = begin > _reached_before(end)
    first = np.flatnonzero(opens)
    reached = np.maximum.accumulate(end)[np.append(first[1:], len(begin)) - 1] if len(first) else end
    group, start = np.divmod(begin[first], grid + 2)
    return group // count, group % count, start, reached - group * (grid + 2)


def _in_order(row: np.ndarray, label: np.ndarray, start: np.ndarray, stop: np.ndarray, grid: int) -> Runs:
    order = np.argsort(row * (grid + 1) + start, kind="stable")
    return Runs(row[order], label[order], start[order], stop[order])


def _sorted(begin: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spans by their beginnings. Packed into one number each where they fit, which sorts several times as fast as their order is found."""
    bits = int(length.max(initial=0)).bit_length()
    if int(begin.max(initial=0)).bit_length() + bits < 63:
        packed = np.sort((begin << bits) | length)
        return packed >> bits, packed & ((1 << bits) - 1)
    order = np.argsort(begin, kind="stable")
    return begin[order], length[order]


def _reached_before(end: np.ndarray) -> np.ndarray:
    """How far the spans before each one reach."""
    return np.concatenate([np.full(1, np.iinfo(np.int64).min), np.maximum.accumulate(end)[:-1]])[: len(end)]


def _bands(low: np.ndarray, high: np.ndarray, grid: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every (face, row) with low <= row < high, whole rows together, about _SPANS_PER_BAND at a time."""
    high = np.maximum(high, low)
    starts, ends = np.bincount(low, minlength=grid + 1), np.bincount(high, minlength=grid + 1)
    total = np.cumsum(np.cumsum(starts - ends))[:grid]  # spans in rows up to and including each
    first = 0
    while first < grid:
        done = total[first - 1] if first else 0
        after = max(int(np.searchsorted(total, done + _SPANS_PER_BAND, side="right")), first + 1)
        face = np.flatnonzero((low < after) & (high > first))
        begin, counts = np.maximum(low[face], first), np.minimum(high[face], after) - np.maximum(low[face], first)
        if counts.sum():
            offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            yield np.repeat(face, counts), np.repeat(begin, counts) + offsets
        first = after


def _ceil(value: np.ndarray, by: np.ndarray | int) -> np.ndarray:
    return -((-value) // by)
