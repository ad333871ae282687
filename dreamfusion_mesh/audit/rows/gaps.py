"""Row 5: do the gaps between charts, and the charts themselves, survive mip maps?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.atlas import Atlas
from dreamfusion_mesh.audit.row import Row, measured_row, unmeasured_row
from dreamfusion_mesh.audit.spans import centre_spans, label_image, label_runs, smallest_gap, touched_spans
from dreamfusion_mesh.config import AuditSettings

_MOST_BOXES = 4
_BAND_ROWS = 1024  # looked at at once for squares


@dataclass(frozen=True)
class Gaps:
    """What lies between charts and in them.

    gap     free texels between the two nearest charts (0: they touch one texel)
    narrow  charts without room for the asked disc; None where they wind about one another too much to be measured
    """

    charts: int
    gap: int
    narrow: int | None


def gaps_row(atlas: Atlas, settings: AuditSettings) -> Row:
    """Row 5."""
    if atlas.size is None or atlas.unmeasured:
        return unmeasured_row(5, atlas.unmeasured)
    mip = promised_mip(atlas.size, settings)
    wanted = 2 * 2**mip
    found = measure_gaps(atlas.uvs, chart_labels(atlas.split_faces), atlas.size, settings.narrow_texels)
    share = "not measured" if found.narrow is None else found.narrow / found.charts
    problems, note = [], "" if found.narrow is not None else "narrow charts not measured: they wind about one another too much"
    if found.gap < wanted:
        problems.append(f"charts {found.gap} texels apart, at least {wanted} (mip {mip})")
    if not isinstance(share, str) and share > settings.narrow_charts:
        narrow = f"narrower than {settings.narrow_texels:g} texels"
        problems.append(f"{share:.1%} of the charts are {narrow}, at most {settings.narrow_charts:.1%}")
    return measured_row(5, {"charts": found.charts, "smallest gap": found.gap, "mip": mip, "narrow charts": share}, problems, note)


def promised_mip(size: int, settings: AuditSettings) -> int:
    """The mip level up to which a texture of `size` texels a side has to keep its charts apart."""
    return max(1, int(math.log2(size)) - 8) if settings.mip == "auto" else settings.mip


def chart_labels(split_faces: np.ndarray) -> np.ndarray:
    """Chart [F] of each face, from 0: faces that share a UV corner, directly or through others, are one chart. split_faces [F, 3]."""
    from trimesh.graph import connected_component_labels

    edges = split_faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    corner = connected_component_labels(edges, node_count=int(split_faces.max()) + 1)
    return np.unique(corner[split_faces[:, 0]], return_inverse=True)[1].reshape(-1)


def measure_gaps(corner_uvs: np.ndarray, charts: np.ndarray, size: int, narrow_texels: float) -> Gaps:
    """Measure charts [F] on a size x size texture. A texel belongs to a chart that touches it; gaps are counted along rows, columns and
    diagonals (the larger of the two steps), as box-filtered mips see them.
    """
    gap = smallest_gap(label_runs(touched_spans(corner_uvs, size), charts, size), size)
    inside, _ = label_image(centre_spans(corner_uvs, size), charts, size)
    count = int(charts.max()) + 1
    wide = wide_charts(inside, count, narrow_texels)
    return Gaps(count, gap, None if wide is None else count - int(wide.sum()))


def wide_charts(labels: np.ndarray, count: int, texels: float) -> np.ndarray | None:
    """Whether a disc of `texels` across fits in each chart [count] of a label image [S, S] (chart + 1; 0: none).

    A chart with a whole square of that side is wide, one without a square that every such disc holds is narrow; only what is left is
    measured, on half texels, by its distance to the outside. None where its boxes are _MOST_BOXES times as large as the image together.
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    wide = with_square(labels, count, int(np.ceil(texels)))
    possible = with_square(labels, count, max(1, 2 * int((texels / 2**0.5 - 1) / 2) + 1)) & ~wide
    if not possible.any():
        return wide[1:]
    boxes = {chart: box for chart, box in enumerate(find_objects(labels, max_label=count), start=1) if box is not None and possible[chart]}
    if sum(labels[box].size for box in boxes.values()) > _MOST_BOXES * labels.size:
        return None
    for chart, box in boxes.items():
        halves = np.pad((labels[box] == chart).repeat(2, axis=0).repeat(2, axis=1), 1)
        wide[chart] = distance_transform_edt(halves).max() >= texels  # n half texels across reach n / 2, that is, the width in texels
    return wide[1:]


def with_square(labels: np.ndarray, count: int, side: int) -> np.ndarray:
    """[count + 1] bool: the labels of an image [S, S] that somewhere have a whole square of so many texels a side."""
    found = np.zeros(count + 1, bool)
    for first in range(0, len(labels) - side + 1, _BAND_ROWS):
        band = labels[first : first + _BAND_ROWS + side - 1]
        alike = _windows(band[:, 1:] == band[:, :-1], side - 1, 1)  # each row of the square is of one label
        down = _windows(band[1:, : alike.shape[1]] == band[:-1, : alike.shape[1]], side - 1, 0)  # and so is its first column
        whole = _windows(alike, side, 0) & down
        found[band[: whole.shape[0], : whole.shape[1]][whole]] = True
    found[0] = False
    return found


def _windows(values: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Whether all of `length` values from each place on along an axis are true; shorter by length - 1 along it."""
    if length == 0:
        shape = tuple(size + (i == axis) for i, size in enumerate(values.shape))
        return np.ones(shape, bool)
    values, width = np.moveaxis(values, axis, 0), 1
    while width < length:
        step = min(width, length - width)
        values, width = values[: len(values) - step] & values[step:], width + step
    return np.moveaxis(values, 0, axis)
