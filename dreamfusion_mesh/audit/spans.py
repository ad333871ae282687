"""Which grid cells a UV face covers, as spans of columns in rows: exact by centres, or every cell the face touches.

A span is one row of one face, so overlaps and coverage are counted by sorting spans; no image of the grid is ever made. Rows come in
bands of bounded size.
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


def uncovered(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each of the spans begin <= x < end, all [N], leaves what those before it cover: cells fresh <= x < end are first covered by it.

    Returns the order of the spans by their beginnings, and in that order `fresh`, at most `end`, and how far all spans reach by then.
    """
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], end[order]
    reached = np.maximum.accumulate(end)
    before = np.concatenate([np.full(1, np.iinfo(np.int64).min), reached[:-1]])
    return order, np.clip(before, begin, end), reached


def label_image(spans: Iterator[Spans], labels: np.ndarray, grid: int) -> tuple[np.ndarray, int]:
    """Image [grid, grid] int32 of the label + 1 of a face in each cell, 0 where none, and how many times a cell has a further label.

    No cell is written twice, so that faces that cover one another, as those of a tiled texture do, cost no more than their spans.
    """
    image = np.zeros(grid * grid, np.int32)
    shared = 0
    for band in spans:
        row, label, start, stop = _joined(band.row, labels[band.face], band.start, band.stop, grid)
        order, fresh, _ = uncovered(row * (grid + 1) + start, row * (grid + 1) + stop)
        row, label, stop = row[order], label[order], stop[order]
        first = fresh - row * (grid + 1)
        shared += int((first - start[order]).sum())
        lengths = stop - first
        cells = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - first - row * grid, lengths)
        image[cells] = np.repeat(label + 1, lengths)
    return image.reshape(grid, grid), shared


def _joined(row: np.ndarray, label: np.ndarray, start: np.ndarray, stop: np.ndarray, grid: int) -> tuple[np.ndarray, ...]:
    """The spans of each label in each row with those that touch joined: row, label, start and stop, [N] each."""
    groups, group = np.unique(np.stack([row, label]), axis=1, return_inverse=True)
    base = group.reshape(-1) * (grid + 2)  # spans of two groups never touch
    order, _, reached = uncovered(base + start, base + stop)
    begin = (base + start)[order]
    opens = np.concatenate([np.ones(min(len(begin), 1), bool), begin[1:] > reached[:-1]])
    closes = np.concatenate([opens[1:], np.ones(min(len(begin), 1), bool)])
    chosen = group.reshape(-1)[order][opens]
    return groups[0, chosen], groups[1, chosen], begin[opens] - chosen * (grid + 2), reached[closes] - chosen * (grid + 2)


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
