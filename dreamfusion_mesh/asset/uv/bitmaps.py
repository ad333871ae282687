"""Charts laid straight, and the cells of a grid that they touch."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.asset.deadline import Deadline
from dreamfusion_mesh.asset.uv.charts import Charts
from dreamfusion_mesh.geometry.areas import uv_areas

_ANGLES = np.deg2rad(np.arange(0.0, 90.0, 3.0))
SLACK = 1 / 64  # cells by which a chart is held to be larger, so that rounding moves no texel over a cell's border
_DISC_CELLS, _LEAST_CELLS, _ALL_CELLS = 4096, 400, 2_000_000  # a chart's area, and all charts', when their largest discs are measured
_LONGEST = 400  # times as long as wide is a chart whose disc is measured as exactly as others
_CHUNK = 2_000_000  # pairs of face and cell tested at once


def straighten(charts: Charts, as_they_are: bool = False) -> np.ndarray:
    """[U, 2] charts turned so that their bounding boxes are smallest, if not `as_they_are`, with lower left corners at the origin."""
    owner = charts.owner
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(charts.count))
    boxes = []
    candidates = _ANGLES[:1] if as_they_are else _ANGLES
    for angle in candidates:
        turned = (charts.uvs @ _turn(angle))[order]
        extent = np.maximum.reduceat(turned, starts) - np.minimum.reduceat(turned, starts)
        boxes.append(extent.prod(axis=1))
    angles = candidates[np.argmin(np.stack(boxes), axis=0)][owner]
    cos, sin = np.cos(angles), np.sin(angles)
    u, v = charts.uvs.T
    turned = np.stack([u * cos - v * sin, u * sin + v * cos], axis=1)
    return turned - np.minimum.reduceat(turned[order], starts)[owner]


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def extents(charts: Charts, local: np.ndarray) -> np.ndarray:
    """[count, 2] sizes of charts whose lower left corners are at the origin."""
    extent = np.zeros((charts.count, 2))
    np.maximum.at(extent, charts.owner, local)
    return extent


def chart_bitmaps(charts: Charts, local: np.ndarray, deadline: Deadline) -> list[np.ndarray]:
    """Of each chart the cells [height, width] bool that it touches.

    local  [U, 2]  the charts' UVs in cells, each chart's lower left corner at the origin or 2 SLACK above it
    Tests every face against every cell of its box by separating axes. Raises TimeIsUp at the deadline.
    """
    size = np.floor(extents(charts, local) + SLACK).astype(np.int64) + 1
    offset = np.concatenate([[0], np.cumsum(size.prod(axis=1))])
    cells = np.zeros(offset[-1], dtype=bool)
    corners = local[charts.face_uvs]
    low = np.floor(corners.min(axis=1) - SLACK).astype(np.int64)
    span = np.floor(corners.max(axis=1) + SLACK).astype(np.int64) - low + 1
    pairs = span.prod(axis=1)
    for rows in np.array_split(np.arange(len(pairs)), int(pairs.sum()) // _CHUNK + 1):
        deadline.check()
        face = np.repeat(rows, pairs[rows])
        step = np.arange(len(face)) - np.repeat(np.cumsum(pairs[rows]) - pairs[rows], pairs[rows])
        x, y = low[face, 0] + step % span[face, 0], low[face, 1] + step // span[face, 0]
        touched = np.ones(len(face), dtype=bool)
        for i in range(3):
            a, b = corners[face, i], corners[face, (i + 1) % 3]
            inward_x, inward_y = a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]
            reach = inward_x.clip(0) + inward_y.clip(0) + SLACK * (np.abs(inward_x) + np.abs(inward_y))  # of the corner farthest inward
            touched &= inward_x * (x - a[:, 0]) + inward_y * (y - a[:, 1]) + reach >= 0
        chart = charts.chart[face]
        cells[(offset[chart] + y * size[chart, 0] + x)[touched]] = True
    return [cells[offset[i] : offset[i + 1]].reshape(size[i, 1], size[i, 0]) for i in range(charts.count)]


def inscribed_diameters(charts: Charts, deadline: Deadline) -> np.ndarray:
    """[count] how wide the largest disc inside each chart is, in the charts' unit; about 3 % exact, more so for compact charts.

    Raises TimeIsUp at the deadline.
    """
    from scipy.ndimage import distance_transform_edt

    deadline.check()
    local = straighten(charts)
    area = np.bincount(charts.chart, uv_areas(local[charts.face_uvs]))
    area = np.maximum(area, extents(charts, local).max(axis=1) ** 2 / _LONGEST)
    scale = np.sqrt(np.clip(_ALL_CELLS / charts.count, _LEAST_CELLS, _DISC_CELLS) / area)
    radii = np.zeros(charts.count)
    for index, bitmap in enumerate(chart_bitmaps(charts, local * scale[charts.owner, None] + 2 * SLACK, deadline)):
        deadline.check()
        radii[index] = distance_transform_edt(np.pad(bitmap, 1)).max() - 1  # a cell that is touched is not full
    return 2 * np.maximum(radii, 0.5) / scale
