"""Merge charts too narrow for their texture into their neighbours, face by face. What stays narrow is enlarged when packed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.asset.deadline import Deadline
from dreamfusion_mesh.asset.uv.charts import Charts, face_neighbours, overlapping, regroup, surface_areas
from dreamfusion_mesh.geometry.areas import uv_areas

_AREA_RATIOS = (
    (0.6, 1.7),
    (0.1, 8.0),
)  # in UV over that in space, of an absorbed face; the second range where the first fails
_ROUNDS = 100


def absorb(charts: Charts, vertices: np.ndarray, faces: np.ndarray, narrow: np.ndarray, deadline: Deadline) -> Charts:
    """Unfold the faces of `narrow` charts [count] bool over shared edges into neighbouring charts, where there is room.

    Charts are in the surface's own unit (see `equalize_density`), without overlaps, and stay so. Faces without room keep their charts,
    and so do those that are left at the deadline.
    """
    loose = narrow[charts.chart]
    edges = _Edges.of(faces)
    for ratios in _AREA_RATIOS:
        charts, loose = _absorb(charts, vertices, faces, edges, loose, ratios, deadline)
    return regroup(charts.uvs, charts.face_uvs, charts.chart)


def _absorb(
    charts: Charts,
    vertices: np.ndarray,
    faces: np.ndarray,
    edges: _Edges,
    loose: np.ndarray,
    ratios: tuple[float, float],
    deadline: Deadline,
) -> tuple[Charts, np.ndarray]:
    """Charts and the faces still loose [F] bool, once no loose face can be hinged to a chart at an area within `ratios`."""
    rejected = np.zeros(len(edges.one), dtype=bool)
    space = surface_areas(vertices, faces)
    for _ in range(_ROUNDS):
        rows = _candidates(edges, loose, rejected, faces)
        if not len(rows) or deadline.passed:
            break
        trial = _unfold(charts, edges, rows, vertices, faces)
        ratio = uv_areas(trial.uvs[trial.face_uvs[edges.one[rows]]]) / np.maximum(space[edges.one[rows]], 1e-300)
        good = (ratio >= ratios[0]) & (ratio <= ratios[1])
        while good.any() and not deadline.passed:  # what is moved must not cross; once some stay behind, the others are looked at again
            moved = _moved(charts, trial, edges.one[rows[good]])
            over = _crosses(moved, edges.one[rows])
            if not (over & good).any():
                charts = moved
                break
            good &= ~over
        rejected[rows[~good]] = True
        loose[edges.one[rows[good]]] = False
    return charts, loose


def _moved(charts: Charts, trial: Charts, rows: np.ndarray) -> Charts:
    """`charts` with the faces `rows` where they are in `trial`."""
    face_uvs, chart = charts.face_uvs.copy(), charts.chart.copy()
    face_uvs[rows], chart[rows] = trial.face_uvs[rows], trial.chart[rows]
    return Charts(trial.uvs, face_uvs, chart)


def _crosses(charts: Charts, rows: np.ndarray) -> np.ndarray:
    """[N] bool, the faces `rows` [N] that make their chart lie over itself; where none can be named, all of that chart's."""
    selected = np.zeros(charts.count, dtype=bool)
    selected[charts.chart[rows]] = True
    found = overlapping(charts, selected)
    over = np.zeros(charts.count, dtype=bool)
    over[charts.chart[found]] = True
    over[charts.chart[rows[found[rows]]]] = False
    return found[rows] | over[charts.chart[rows]]


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


def _candidates(edges: _Edges, loose: np.ndarray, rejected: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Rows of `edges` from a loose face to a settled one; no two loose faces share a vertex, so each unfolds from one that stays."""
    rows = np.flatnonzero(loose[edges.one] & ~loose[edges.other] & ~rejected)
    used = set[int]()
    chosen = []
    for row, corners in zip(rows.tolist(), faces[edges.one[rows]].tolist(), strict=True):
        if used.isdisjoint(corners):
            used.update(corners)
            chosen.append(row)
    return np.array(chosen, dtype=np.int64)


def _unfold(charts: Charts, edges: _Edges, rows: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Charts with `edges.one[rows]` hinged to their neighbours: shape kept, size by the shared edge's length in the plane."""
    uvs, face_uvs, chart = charts.uvs, charts.face_uvs, charts.chart.copy()
    one, other, tip = edges.one[rows], edges.other[rows], edges.corner[rows]
    first, second = (tip + 1) % 3, (tip + 2) % 3
    a, b, c = (vertices[faces[one, corner]] for corner in (first, second, tip))
    start, end = (_uv_row_at(faces[one, corner], other, faces, face_uvs) for corner in (first, second))
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
        face, neighbour, tip = edges.one[row], edges.other[row], tips[edges.one[row]]
        if edges.corner[row] == tip:
            continue
        common = 3 - tip - edges.corner[row]  # the corner that both shared edges have
        rows_there = _uv_row_at(faces[face, [common, tip]], np.array([neighbour, neighbour]), faces, charts.face_uvs)
        if rows_there[0] == fresh[face, common]:
            fresh[face, tip] = rows_there[1]


def _uv_row_at(vertex: np.ndarray, face: np.ndarray, faces: np.ndarray, face_uvs: np.ndarray) -> np.ndarray:
    """[N] UV rows that `face` [N] uses at its corner `vertex` [N]."""
    return face_uvs[face, (faces[face] == vertex[:, None]).argmax(axis=1)]
