"""Charts too narrow for their texture, given face by face to their neighbours. What stays narrow is enlarged when packed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.asset.charts import Charts, crossing, face_neighbours, regroup, signed_areas, surface_areas

_SHARES = ((0.6, 1.7), (0.1, 8.0))  # of its area in space that an absorbed face may take; wider where nothing else helps
_ROUNDS = 100
_AT_ONCE = 64  # faces given to one chart in one round


def absorb(charts: Charts, vertices: np.ndarray, faces: np.ndarray, narrow: np.ndarray) -> Charts:
    """Unfold the faces of `narrow` charts [count] bool over shared edges into the charts beside them, where there is room.

    Charts are in the surface's own unit (see `even`), without overlaps, and stay so. Faces that find no room keep their charts.
    """
    loose = narrow[charts.chart]
    edges = _Edges.of(faces)
    for shares in _SHARES:
        charts, loose = _absorb(charts, vertices, faces, edges, loose, shares)
    return regroup(charts.uvs, charts.face_uvs, charts.chart)


def _absorb(
    charts: Charts, vertices: np.ndarray, faces: np.ndarray, edges: _Edges, loose: np.ndarray, shares: tuple[float, float]
) -> tuple[Charts, np.ndarray]:
    """Charts and the faces still loose [F] bool, once no loose face can be hinged to a chart at an area within `shares`."""
    refused = np.zeros(len(edges.one), dtype=bool)
    allowed = np.full(charts.count, _AT_ONCE)  # faces a chart takes at once; where they collide, one by one tells which is to blame
    space = surface_areas(vertices, faces)
    for _ in range(_ROUNDS):
        rows = _candidates(edges, loose, charts.chart, refused, allowed, faces)
        if not len(rows):
            break
        moved, target = edges.one[rows], charts.chart[edges.other[rows]]
        trial = _unfold(charts, edges, rows, vertices, faces)
        area = signed_areas(trial.uvs, trial.face_uvs[moved])
        fitting = (area >= shares[0] * space[moved]) & (area <= shares[1] * space[moved])
        free = ~crossing(trial)[target]
        alone = np.bincount(target, minlength=charts.count)[target] == 1
        refused[rows[~fitting | (~free & alone)]] = True
        allowed[target] = np.where(free, _AT_ONCE, 1)
        good = moved[fitting & free]
        loose[good] = False
        face_uvs, chart = charts.face_uvs.copy(), charts.chart.copy()
        face_uvs[good], chart[good] = trial.face_uvs[good], trial.chart[good]
        charts = Charts(trial.uvs, face_uvs, chart)
    return charts, loose


@dataclass(frozen=True, eq=False)
class _Edges:
    """Directed pairs of faces that share an edge; `corner` is the corner of `one` that lies across from it."""

    one: np.ndarray
    other: np.ndarray
    corner: np.ndarray

    @staticmethod
    def of(faces: np.ndarray) -> _Edges:
        pairs = face_neighbours(faces)
        one, other = np.concatenate([pairs, pairs[:, ::-1]]).T
        shared = (faces[one][:, :, None] == faces[other][:, None, :]).any(axis=2)
        simple = shared.sum(axis=1) == 2  # not the same three corners twice
        return _Edges(one[simple], other[simple], shared[simple].argmin(axis=1))


def _candidates(
    edges: _Edges, loose: np.ndarray, chart: np.ndarray, refused: np.ndarray, allowed: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """Rows of `edges` from a loose face to a settled one, as many a chart as `allowed`; no two of the faces share a vertex."""
    rows = np.flatnonzero(loose[edges.one] & ~loose[edges.other] & ~refused)
    used = set[int]()
    left = allowed.copy()
    chosen = []
    for row in rows.tolist():
        corners, target = faces[edges.one[row]].tolist(), chart[edges.other[row]]
        if left[target] and used.isdisjoint(corners):
            left[target] -= 1
            used.update(corners)
            chosen.append(row)
    return np.array(chosen, dtype=np.int64)


def _unfold(charts: Charts, edges: _Edges, rows: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Charts with `edges.one[rows]` hinged to their neighbours: shape kept, size by the shared edge's length in the plane."""
    uvs, face_uvs, chart = charts.uvs, charts.face_uvs, charts.chart.copy()
    one, other, tip = edges.one[rows], edges.other[rows], edges.corner[rows]
    first, second = (tip + 1) % 3, (tip + 2) % 3
    a, b, c = (vertices[faces[one, corner]] for corner in (first, second, tip))
    start, end = (_place_of(faces[one, corner], other, faces, face_uvs) for corner in (first, second))
    along = b - a
    square = np.maximum((along * along).sum(axis=1), 1e-300)
    share = ((c - a) * along).sum(axis=1) / square
    height = np.linalg.norm(np.cross(along, c - a), axis=1) / square
    base = uvs[end] - uvs[start]
    left = np.stack([-base[:, 1], base[:, 0]], axis=1)
    points = uvs[start] + share[:, None] * base + height[:, None] * left
    fresh = face_uvs.copy()
    fresh[one, first], fresh[one, second] = start, end
    fresh[one, tip] = len(uvs) + np.arange(len(rows))
    _close(charts, edges, rows, faces, fresh)
    chart[one] = chart[other]
    return Charts(np.concatenate([uvs, points]), fresh, chart)


def _close(charts: Charts, edges: _Edges, rows: np.ndarray, faces: np.ndarray, fresh: np.ndarray) -> None:
    """Where a face that is moved has a second edge with the same chart, at the same corner, its tip is that chart's: no slit is left."""
    target = np.full(len(faces), -1)
    target[edges.one[rows]] = charts.chart[edges.other[rows]]
    also = np.flatnonzero((target[edges.one] >= 0) & (charts.chart[edges.other] == target[edges.one]))
    tips = np.full(len(faces), -1)
    tips[edges.one[rows]] = edges.corner[rows]
    for row in also.tolist():
        face, beside, tip = edges.one[row], edges.other[row], tips[edges.one[row]]
        if edges.corner[row] == tip:
            continue
        kept = 3 - tip - edges.corner[row]  # the corner that both shared edges have
        there = _place_of(faces[face, [kept, tip]], np.array([beside, beside]), faces, charts.face_uvs)
        if there[0] == fresh[face, kept]:
            fresh[face, tip] = there[1]


def _place_of(vertex: np.ndarray, face: np.ndarray, faces: np.ndarray, face_uvs: np.ndarray) -> np.ndarray:
    """[N] UV rows that `face` [N] uses at its corner `vertex` [N]."""
    return face_uvs[face, (faces[face] == vertex[:, None]).argmax(axis=1)]
