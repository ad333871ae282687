"""Charts as packing needs them: upright, without overlaps or empty faces, of one texel density, and of shapes that pack."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.asset.deadline import Deadline, TimeIsUp
from dreamfusion_mesh.asset.uv.absorb import absorb
from dreamfusion_mesh.asset.uv.bitmaps import extents, inscribed_diameters, straighten
from dreamfusion_mesh.asset.uv.box import box_charts
from dreamfusion_mesh.asset.uv.charts import (
    Charts,
    equalize_density,
    isolate_faces,
    regroup,
    split_overlaps,
    surface_areas,
    unflip_charts,
)
from dreamfusion_mesh.asset.uv.pack import MIN_DIAMETER
from dreamfusion_mesh.geometry.areas import uv_areas

_MIN_AREA_SHARE = 1e-3  # of a face's share of its chart's area; one with less is laid flat by itself
_MAX_STRETCH = 2.0  # 95th over 5th percentile of a chart's texel density, in areas
_EXPECTED_UTILISATION = 0.6  # gives a texel's size, about, before packing
_MAX_THICKENED = 0.03  # of all charts' area, so that all other faces keep one texel density
_ROOM = 1.1  # times the width that is needed
_SPRAWLING_SHARE = 0.02  # of all charts' area: the box of one that is worth splitting is larger


def repair(charts: Charts, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Charts without a mirrored, empty or overlapping piece, all at the surface's own scale."""
    charts = _box_stretched(unflip_charts(charts), vertices, faces)
    flat, space = uv_areas(charts.uvs[charts.face_uvs]), surface_areas(vertices, faces)
    total_flat, total_space = np.bincount(charts.chart, flat), np.bincount(charts.chart, space)
    expected = space * (total_flat / np.maximum(total_space, 1e-300))[charts.chart]
    charts = isolate_faces(charts, (flat <= _MIN_AREA_SHARE * expected) | (flat <= 0), vertices, faces)
    return equalize_density(split_overlaps(charts, vertices, faces), vertices, faces)


def absorb_narrow(charts: Charts, vertices: np.ndarray, faces: np.ndarray, size: int, deadline: Deadline) -> Charts:
    """Charts too narrow for a texture of `size` texels a side given to their neighbours, as far as time allows."""
    texel = np.sqrt(surface_areas(vertices, faces).sum() / _EXPECTED_UTILISATION) / size
    try:
        narrow = inscribed_diameters(charts, deadline) < MIN_DIAMETER * texel
    except TimeIsUp:
        return charts
    return _thicken_lone(absorb(charts, vertices, faces, narrow, deadline), MIN_DIAMETER * texel, deadline)


def _thicken_lone(charts: Charts, width: float, deadline: Deadline) -> Charts:
    """Single faces narrower than `width`, which are charts of their own, are laid out as equilateral triangles with a disc that wide in
    them, as far as these take up little: no scale makes a needle wide enough, and it carries next to no texture.
    """
    lone = np.flatnonzero(np.bincount(charts.chart)[charts.chart] == 1)
    side = _ROOM * width * np.sqrt(3)  # of the triangle round a disc
    most = _MAX_THICKENED * uv_areas(charts.uvs[charts.face_uvs]).sum() / (side**2 * np.sqrt(3) / 4)
    if not len(lone) or len(lone) > most:
        return charts
    try:
        lone = lone[inscribed_diameters(charts, deadline)[charts.chart[lone]] < width]
    except TimeIsUp:
        return charts
    uvs = charts.uvs.copy()
    uvs[charts.face_uvs[lone]] = side * np.array([[0, 0], [1, 0], [0.5, np.sqrt(0.75)]])
    return Charts(uvs, charts.face_uvs, charts.chart)


def split_sprawling(charts: Charts, least_filled: float) -> Charts:
    """Large charts that fill less than `least_filled` of their box, as rings and hooks do, cut across the box's longer side."""
    local = straighten(charts)
    box = extents(charts, local)
    area, boxed = np.bincount(charts.chart, uv_areas(local[charts.face_uvs])), box.prod(axis=1)
    sprawling = (area < least_filled * boxed) & (boxed > _SPRAWLING_SHARE * area.sum())
    centres, axis = local[charts.face_uvs].mean(axis=1), box.argmax(axis=1)
    along = np.take_along_axis(centres, axis[charts.chart, None], axis=1)[:, 0]
    beyond = sprawling[charts.chart] & (along > box.max(axis=1)[charts.chart] / 2)
    return regroup(charts.uvs, charts.face_uvs, charts.chart * 2 + beyond)


def _box_stretched(charts: Charts, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Charts whose texel density varies too much, as on rough surfaces, are replaced by box projection of their faces."""
    density = uv_areas(charts.uvs[charts.face_uvs]) / np.maximum(surface_areas(vertices, faces), 1e-300)
    ordered = density[np.lexsort((density, charts.chart))]
    count = np.bincount(charts.chart)
    first = np.cumsum(count) - count
    low, high = (ordered[first + np.round(share * (count - 1)).astype(np.int64)] for share in (0.05, 0.95))
    stretched = (high > _MAX_STRETCH * low)[charts.chart]
    if not stretched.any():
        return charts
    boxed = box_charts(vertices, faces)
    face_uvs = np.where(stretched[:, None], boxed.face_uvs + len(charts.uvs), charts.face_uvs)
    return regroup(np.concatenate([charts.uvs, boxed.uvs]), face_uvs, np.where(stretched, boxed.chart + charts.count, charts.chart))
