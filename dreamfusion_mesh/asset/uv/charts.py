"""Charts: pieces of a surface laid flat. Makes them what packing needs: not flipped, free of overlaps, of one texel density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dreamfusion_mesh.geometry.areas import cross_2d, face_areas, uv_areas
from dreamfusion_mesh.geometry.topology import face_adjacency

_MIN_ASPECT = 0.02  # a sliver that is laid flat by itself gets at least this height for its length
_ANGLE_TOLERANCE = 1e-7  # radians; rounding may open or close a gap by so much
_MAX_CELLS = 4_000_000  # that the borders' boxes take up, of the grid that finds crossing borders
_MAX_SHARING = 256  # borders in one cell, compared pair by pair; where there are more, charts are split without looking


@dataclass(frozen=True, eq=False)
class Charts:
    """A flattened surface; no row of `uvs` belongs to two charts.

    uvs       [U, 2] float64   any unit
    face_uvs  [F, 3] int64
    chart     [F] int64        0 .. count - 1, each at least once
    """

    uvs: np.ndarray
    face_uvs: np.ndarray
    chart: np.ndarray

    @property
    def count(self) -> int:
        """How many charts there are."""
        return int(self.chart.max()) + 1

    @property
    def owner(self) -> np.ndarray:
        """[U] int64, the chart of each row of `uvs`."""
        owner = np.zeros(len(self.uvs), dtype=np.int64)
        owner[self.face_uvs] = self.chart[:, None]
        return owner


def surface_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F] areas in space."""
    return face_areas(torch.from_numpy(vertices), torch.from_numpy(faces)).numpy()


def regroup(uvs: np.ndarray, face_uvs: np.ndarray, labels: np.ndarray) -> Charts:
    """Charts anew from a label a face: faces of one label connected over edges are a chart; rows of `uvs` double where charts meet."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(face_uvs)
    pairs = face_neighbours(face_uvs)
    pairs = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, chart = connected_components(graph, directed=False)
    keys = chart[:, None].astype(np.int64) * len(uvs) + face_uvs
    used, inverse = np.unique(keys, return_inverse=True)
    return Charts(uvs[used % len(uvs)], inverse.reshape(-1, 3).astype(np.int64), chart.astype(np.int64))


def face_neighbours(faces: np.ndarray) -> np.ndarray:
    """[P, 2] pairs of faces that share an edge; an edge of more than two faces joins them in a row."""
    return face_adjacency(torch.from_numpy(faces)).numpy()


def unflip_charts(charts: Charts) -> Charts:
    """Mirror the charts whose UVs run clockwise: a flipped chart cannot carry a normal map."""
    total = np.bincount(charts.chart, uv_areas(charts.uvs[charts.face_uvs]), minlength=charts.count)
    uvs = charts.uvs.copy()
    uvs[total[charts.owner] < 0, 0] *= -1
    return Charts(uvs, charts.face_uvs, charts.chart)


def isolate_faces(charts: Charts, bad: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Each face of `bad` [F] bool leaves its chart and is laid flat by itself, without distortion; slivers get some height."""
    if not bad.any():
        return charts
    rows = np.flatnonzero(bad)
    corners = vertices[faces[rows]]
    lengths = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
    first = lengths.argmax(axis=1)  # the longest edge lies along u
    a, b, c = (corners[np.arange(len(rows)), (first + i) % 3] for i in range(3))
    longest = np.maximum(lengths.max(axis=1), 1e-6 * max(float(np.ptp(vertices, axis=0).max()), 1e-30))
    along = np.clip(((c - a) * (b - a)).sum(axis=1) / longest, 0, longest)
    height = np.maximum(np.linalg.norm(np.cross(b - a, c - a), axis=1) / longest, _MIN_ASPECT * longest)
    zero = np.zeros_like(longest)
    flat = np.stack([np.stack([zero, zero], 1), np.stack([longest, zero], 1), np.stack([along, height], 1)], axis=1)
    face_uvs, labels = charts.face_uvs.copy(), charts.chart.copy()
    fresh = len(charts.uvs) + np.arange(3 * len(rows)).reshape(-1, 3)
    for i in range(3):
        face_uvs[rows, (first + i) % 3] = fresh[:, i]
    labels[rows] = charts.count + np.arange(len(rows))
    return regroup(np.concatenate([charts.uvs, flat.reshape(-1, 2)]), face_uvs, labels)


def equalize_density(charts: Charts, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Scale each chart so that its area equals its area in space: then the texel density is the same on average everywhere."""
    flat = np.bincount(charts.chart, uv_areas(charts.uvs[charts.face_uvs]), minlength=charts.count)
    space = np.bincount(charts.chart, surface_areas(vertices, faces), minlength=charts.count)
    scale = np.sqrt(np.where(space > 0, space, flat) / flat)
    return Charts(charts.uvs * scale[charts.owner, None], charts.face_uvs, charts.chart)


def split_overlaps(charts: Charts, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Split charts that overlap themselves until none does, at the median along the axis in space that the chart is longest in."""
    centres = vertices[faces].mean(axis=1)
    selected = np.ones(charts.count, dtype=bool)
    while True:
        found = np.unique(charts.chart[overlapping(charts, selected)])
        if not len(found):
            return charts
        split = np.isin(charts.chart, found)
        labels = charts.chart * 2
        for index in found:
            rows = np.flatnonzero(charts.chart == index)
            axis = np.ptp(centres[rows], axis=0).argmax()
            order = rows[np.argsort(centres[rows, axis], kind="stable")]
            labels[order[len(order) // 2 :]] += 1
        charts = regroup(charts.uvs, charts.face_uvs, labels)
        selected = np.zeros(charts.count, dtype=bool)
        selected[charts.chart[split]] = True


def overlapping(charts: Charts, selected: np.ndarray | None = None) -> np.ndarray:
    """[F] bool, faces at which charts overlap themselves; none where they do not. Only of the charts `selected` [count] bool if given.

    All faces being counter-clockwise, a chart overlaps itself exactly where its border crosses itself, or where two faces at one corner
    take the same directions. Not every face that another covers is found, but one at each such crossing is.
    """
    rows = np.arange(len(charts.chart)) if selected is None else np.flatnonzero(selected[charts.chart])
    found = np.zeros(len(charts.chart), dtype=bool)
    if len(rows):
        faces = charts.face_uvs[rows]
        found[rows] = _crossing_faces(charts.uvs, faces, charts.chart[rows]) | _folded_faces(charts.uvs, faces)
    return found


def _crossing_faces(uvs: np.ndarray, faces: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """[F] bool, faces with a border edge that crosses another of the same chart, found among the edges in the same cell of a grid."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, index, times = np.unique(edges[:, 0] * len(uvs) + edges[:, 1], return_index=True, return_counts=True)
    index = index[times == 1]
    border, crossed = edges[index], np.zeros(len(index), dtype=bool)
    ends = uvs[border]
    segment, key = _cells_of(_on_grid(ends), chart[index // 3])
    crowded = np.flatnonzero(key[_MAX_SHARING:] == key[:-_MAX_SHARING])
    crossed[segment[crowded]] = True
    for step in range(1, min(len(key), _MAX_SHARING)):
        together = np.flatnonzero(key[step:] == key[:-step])
        if not len(together):
            break
        i, j = segment[together], segment[together + step]
        apart = (border[i][:, :, None] != border[j][:, None, :]).all(axis=(1, 2))
        both = apart & _segments_cross(ends[i], ends[j])
        crossed[i[both]] = crossed[j[both]] = True
    return np.isin(np.arange(len(faces)), index[crossed] // 3)


def _folded_faces(uvs: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F] bool, faces with a corner whose directions another face at the same row of `uvs` takes as well."""
    corners = uvs[faces]
    first, second = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    start = np.arctan2(first[..., 1], first[..., 0]).reshape(-1)
    width = np.arctan2(cross_2d(first, second), (first * second).sum(axis=2)).reshape(-1)
    at = faces.reshape(-1)
    order = np.lexsort((start, at))
    at, start, end = at[order], start[order], (start + width)[order]
    last = np.append(at[1:] != at[:-1], True)
    opening = np.append(True, last[:-1])
    following = np.append(start[1:], 0.0)
    following[last] = start[opening] + 2 * np.pi  # once round
    over = end > following + _ANGLE_TOLERANCE
    return np.isin(np.arange(len(faces)), order[over] // 3)


def _on_grid(ends: np.ndarray) -> np.ndarray:
    """[N, 2, 2] int64 cells of ends [N, 2, 2]: as large as segments are long, larger where a few long ones would fill too many."""
    cell = max(float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).mean()), 1e-300)
    while True:
        if ((np.abs(ends[:, 0] - ends[:, 1]) / cell + 1).prod(axis=1)).sum() <= _MAX_CELLS:
            return np.floor((ends - ends.min(axis=(0, 1))) / cell).astype(np.int64)
        cell *= 2


def _cells_of(ends: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments and the keys of the cells in their boxes, sorted by key, from the cells of their ends [N, 2, 2]; charts share no cells."""
    low, span = ends.min(axis=1), np.abs(ends[:, 0] - ends[:, 1]) + 1
    width, height = ends.max(axis=(0, 1)) + 1
    count = span.prod(axis=1)
    segment = np.repeat(np.arange(len(ends)), count)
    cell = np.arange(len(segment)) - np.repeat(np.cumsum(count) - count, count)
    x, y = low[segment, 0] + cell % span[segment, 0], low[segment, 1] + cell // span[segment, 0]
    key = (owner[segment] * height + y) * width + x
    order = np.argsort(key, kind="stable")
    return segment[order], key[order]


def _segments_cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """[N] bool for segments p, q [N, 2, 2]: do they cross in a point inside both?"""

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return cross_2d(b - a, c - a)

    apart = side(p[:, 0], p[:, 1], q[:, 0]) * side(p[:, 0], p[:, 1], q[:, 1])
    other = side(q[:, 0], q[:, 1], p[:, 0]) * side(q[:, 0], q[:, 1], p[:, 1])
    return (apart < 0) & (other < 0)
