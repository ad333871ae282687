"""The delivered UVs: overlaps and use of the square, gaps between charts, narrow charts, texel density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.solid import corner_areas
from dreamfusion_mesh.audit.spans import centre_spans, paint, touched_spans


@dataclass(frozen=True)
class Layout:
    """outside: corners that leave [0, 1]; flipped: faces of negative, empty: of zero UV area."""

    outside: int
    flipped: int
    empty: int


@dataclass(frozen=True)
class Gaps:
    """charts; gap: free texels between the two nearest charts (0: they touch one texel); narrow: charts without room for the asked disc."""

    charts: int
    gap: int
    narrow: int


def layout(corner_uvs: np.ndarray) -> Layout:
    """Count what is wrong with UVs [F, 3, 2] (origin bottom-left) face by face."""
    areas = signed_areas(corner_uvs)
    outside = int(((corner_uvs < 0) | (corner_uvs > 1)).any(axis=2).sum())
    return Layout(outside, int((areas < 0).sum()), int((areas == 0).sum()))


def signed_areas(corner_uvs: np.ndarray) -> np.ndarray:
    """Signed area [F] of UV triangles [F, 3, 2], in squares; positive where counter-clockwise with the origin bottom-left."""
    one, other = corner_uvs[:, 1] - corner_uvs[:, 0], corner_uvs[:, 2] - corner_uvs[:, 0]
    return 0.5 * (one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])


def coverage(corner_uvs: np.ndarray, grid: int) -> tuple[int, int]:
    """Cell centres of a grid x grid square that some face covers, and how many times a centre is covered again by another face.

    UVs [F, 3, 2] in [0, 1]. Counted exactly, see `centre_spans`.
    """
    covered = again = 0
    for band in centre_spans(corner_uvs, grid):
        begin, end = band.row * (grid + 1) + band.start, band.row * (grid + 1) + band.stop
        order = np.argsort(begin, kind="stable")
        begin, end = begin[order], end[order]
        reached = np.maximum.accumulate(end)  # of the row so far; ends of earlier rows lie below this row's beginnings
        before = np.concatenate([np.zeros(1, np.int64), reached[:-1]])
        twice = np.clip(np.minimum(end, before) - begin, 0, None)
        again += int(twice.sum())
        covered += int((end - begin - twice).sum())
    return covered, again


def chart_labels(charts_by: np.ndarray) -> np.ndarray:
    """Chart [F] of each face, from 0: faces that share a UV corner, directly or through others, are one chart. charts_by [F, 3]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(charts_by.max()) + 1
    one, other = charts_by[:, [0, 1]].ravel(), charts_by[:, [1, 2]].ravel()
    corner = connected_components(coo_array((np.ones(len(one)), (one, other)), shape=(count, count)), directed=False)[1]
    return np.unique(corner[charts_by[:, 0]], return_inverse=True)[1].reshape(-1)


def gaps(corner_uvs: np.ndarray, charts: np.ndarray, size: int, narrow_texels: float) -> Gaps:
    """Measure charts [F] on a size x size texture. A texel belongs to a chart that touches it; gaps are counted along rows, columns and
    diagonals (the larger of the two steps), as box-filtered mips see them.
    """
    picture, shared = paint(touched_spans(corner_uvs, size), charts, size)
    inside, _ = paint(centre_spans(corner_uvs, size), charts, size)
    count = int(charts.max()) + 1
    return Gaps(count, 0 if shared else smallest_gap(picture), narrow_charts(inside, count, narrow_texels))


def smallest_gap(picture: np.ndarray) -> int:
    """Free texels between the nearest two labels of a picture [S, S] (0: none there); its side where fewer than two labels are there.

    On a shortest way between two labels the nearest label changes once; the way's length is both distances and the step between.
    """
    from scipy.ndimage import distance_transform_cdt

    distance, nearest = distance_transform_cdt(picture == 0, metric="chessboard", return_indices=True)
    label = picture[nearest[0], nearest[1]]
    smallest = picture.shape[0]
    for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here, there = _neighbours(label, step)
        differ = here != there
        if differ.any():
            one, other = _neighbours(distance, step)
            smallest = min(smallest, int((one[differ] + other[differ]).min()))
    return smallest


def narrow_charts(picture: np.ndarray, count: int, texels: float) -> int:
    """Charts of a label picture [S, S] (0: none) in which no disc of `texels` across fits; `count` charts in all.

    A chart with a whole square of that side is wide; only what is left is measured, on half texels, by its distance to the outside.
    """
    from scipy.ndimage import distance_transform_edt, find_objects, maximum_filter, minimum_filter

    side = int(np.ceil(texels))
    low, high = minimum_filter(picture, side, mode="constant"), maximum_filter(picture, side, mode="constant")
    wide = np.zeros(count + 1, bool)
    wide[low[(low == high)]] = True
    for chart, box in enumerate(find_objects(picture, max_label=count), start=1):
        if box is None or wide[chart]:
            continue
        halves = np.pad((picture[box] == chart).repeat(2, axis=0).repeat(2, axis=1), 1)
        wide[chart] = distance_transform_edt(halves).max() >= texels  # n half texels across reach n / 2, that is, the width in texels
    return count - int(wide[1:].sum())


def density_ratio(corners: np.ndarray, corner_uvs: np.ndarray) -> float:
    """95th over 5th percentile of UV area over surface area, faces weighted by surface area. Infinite where the 5th is zero.

    corners [F, 3, 3], corner_uvs [F, 3, 2]; faces without surface area do not count.
    """
    areas = corner_areas(corners)
    kept = areas > 0
    if not kept.any():
        return float("inf")
    density = np.abs(signed_areas(corner_uvs))[kept] / areas[kept]
    order = np.argsort(density)
    reach = np.cumsum(areas[kept][order])
    low, high = (density[order][np.searchsorted(reach, share * reach[-1])] for share in (0.05, 0.95))
    return float(high / low) if low > 0 else float("inf")


def _neighbours(values: np.ndarray, step: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Each value and the one a step below and beside it."""
    down, right = step
    if right < 0:
        return values[: values.shape[0] - down, -right:], values[down:, : values.shape[1] + right]
    return values[: values.shape[0] - down, : values.shape[1] - right], values[down:, right:]
