"""Charts: pieces of a surface laid flat. What must hold before they are packed: upright, sound, free of overlaps, evenly dense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_THINNEST = 0.02  # a face that has to be nudged is given at least this height for its length


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
        return int(self.chart.max()) + 1

    @property
    def owner(self) -> np.ndarray:
        """[U] int64, the chart of each row of `uvs`."""
        owner = np.zeros(len(self.uvs), dtype=np.int64)
        owner[self.face_uvs] = self.chart[:, None]
        return owner


def signed_areas(uvs: np.ndarray, face_uvs: np.ndarray) -> np.ndarray:
    """[F] areas in the plane, positive counter-clockwise."""
    a, b, c = (uvs[face_uvs[:, i]].astype(np.float64) for i in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def surface_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F] areas in space."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


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
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    key = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    return np.stack([order[:-1][same] // 3, order[1:][same] // 3], axis=1)


def upright(charts: Charts) -> Charts:
    """Mirror the charts that lie face down. A mirror image cannot carry a normal map, and counts as flipped."""
    total = np.bincount(charts.chart, signed_areas(charts.uvs, charts.face_uvs), minlength=charts.count)
    uvs = charts.uvs.copy()
    uvs[total[charts.owner] < 0, 0] *= -1
    return Charts(uvs, charts.face_uvs, charts.chart)


def cut_out(charts: Charts, bad: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Charts:
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
    height = np.maximum(np.linalg.norm(np.cross(b - a, c - a), axis=1) / longest, _THINNEST * longest)
    zero = np.zeros_like(longest)
    flat = np.stack([np.stack([zero, zero], 1), np.stack([longest, zero], 1), np.stack([along, height], 1)], axis=1)
    face_uvs, labels = charts.face_uvs.copy(), charts.chart.copy()
    fresh = len(charts.uvs) + np.arange(3 * len(rows)).reshape(-1, 3)
    for i in range(3):
        face_uvs[rows, (first + i) % 3] = fresh[:, i]
    labels[rows] = charts.count + np.arange(len(rows))
    return regroup(np.concatenate([charts.uvs, flat.reshape(-1, 2)]), face_uvs, labels)


def even(charts: Charts, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Scale each chart so that its area equals its area in space: then the texel density is the same on average everywhere."""
    flat = np.bincount(charts.chart, signed_areas(charts.uvs, charts.face_uvs), minlength=charts.count)
    space = np.bincount(charts.chart, surface_areas(vertices, faces), minlength=charts.count)
    scale = np.sqrt(np.where(space > 0, space, flat) / flat)
    return Charts(charts.uvs * scale[charts.owner, None], charts.face_uvs, charts.chart)


def separate(charts: Charts, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Split charts that lie over themselves until none does, at the median along the axis in space that the chart is longest in.

    All faces being counter-clockwise, a chart overlaps itself exactly where its border crosses itself; one face alone never does.
    """
    centres = vertices[faces].mean(axis=1)
    while True:
        found = crossing(charts)
        if not found.any():
            return charts
        labels = charts.chart * 2
        for index in np.flatnonzero(found):
            rows = np.flatnonzero(charts.chart == index)
            axis = np.ptp(centres[rows], axis=0).argmax()
            order = rows[np.argsort(centres[rows, axis], kind="stable")]
            labels[order[len(order) // 2 :]] += 1
        charts = regroup(charts.uvs, charts.face_uvs, labels)


def crossing(charts: Charts) -> np.ndarray:
    """[count] bool, the charts whose border crosses itself. A sweep over u: all charts at once, each moved to a span of its own."""
    edges = charts.face_uvs[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    low, high = edges.min(axis=1), edges.max(axis=1)
    _, index, times = np.unique(low * len(charts.uvs) + high, return_index=True, return_counts=True)
    border = edges[index[times == 1]]
    owner = charts.owner[border[:, 0]]
    local, width = _at_origin(charts)
    shift = np.concatenate([[0.0], np.cumsum(width * 1.01 + 1e-12)[:-1]])
    u = local[border, 0] + shift[owner][:, None]
    order = np.argsort(u.min(axis=1), kind="stable")
    border, owner, u = border[order], owner[order], u[order]
    first, last = np.arange(len(border)) + 1, np.searchsorted(u.min(axis=1), u.max(axis=1), side="right")
    found = np.zeros(charts.count, dtype=bool)
    for rows in np.array_split(np.arange(len(border)), max(1, int((last - first).clip(0).sum()) // 2_000_000 + 1)):
        reach = (last[rows] - first[rows]).clip(0)
        i = np.repeat(rows, reach)
        j = np.arange(len(i)) - np.repeat(np.cumsum(reach) - reach, reach) + np.repeat(first[rows], reach)
        crossed = _segments_cross(local[border[i]], local[border[j]]) & (owner[i] == owner[j])
        crossed &= (border[i][:, :, None] != border[j][:, None, :]).all(axis=(1, 2))
        found[owner[i[crossed]]] = True
    return found


def _at_origin(charts: Charts) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates with every chart's lower left corner at the origin, and the charts' widths."""
    low = np.full((charts.count, 2), np.inf)
    high = np.full((charts.count, 2), -np.inf)
    np.minimum.at(low, charts.owner, charts.uvs)
    np.maximum.at(high, charts.owner, charts.uvs)
    return charts.uvs - low[charts.owner], (high - low)[:, 0]


def _segments_cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """[N] bool for segments p, q [N, 2, 2]: do they cross in a point inside both?"""

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]

    apart = side(p[:, 0], p[:, 1], q[:, 0]) * side(p[:, 0], p[:, 1], q[:, 1])
    other = side(q[:, 0], q[:, 1], p[:, 0]) * side(q[:, 0], q[:, 1], p[:, 1])
    return (apart < 0) & (other < 0)
