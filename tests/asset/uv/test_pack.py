"""Packing: gaps to the texel, true shapes, one scale."""

from __future__ import annotations

import numpy as np
import pytest

from dreamfusion_mesh.asset.deadline import Deadline
from dreamfusion_mesh.asset.uv.bitmaps import inscribed_diameters
from dreamfusion_mesh.asset.uv.charts import Charts, regroup
from dreamfusion_mesh.asset.uv.pack import pack
from dreamfusion_mesh.asset.uv.shelves import DoesNotFit
from dreamfusion_mesh.audit.atlas import coverage
from dreamfusion_mesh.audit.rows.gaps import chart_labels, measure_gaps
from dreamfusion_mesh.geometry.areas import uv_areas

NEVER = Deadline.after(100_000)


def fans(count: int, seed: int = 0) -> Charts:
    """Stars with dents, of very different sizes."""
    draws = np.random.default_rng(seed)
    uvs, faces = [], []
    for _ in range(count):
        points = int(draws.integers(5, 12))
        angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
        radius = draws.uniform(0.3, 1, points) * draws.uniform(0.2, 1)
        rim = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        first = sum(len(part) for part in uvs)
        row = np.arange(points)
        faces.append(np.stack([np.full(points, first), first + 1 + row, first + 1 + (row + 1) % points], axis=1))
        uvs.append(np.concatenate([np.zeros((1, 2)), rim]))
    labels = np.repeat(np.arange(count), [len(part) for part in faces])
    return regroup(np.concatenate(uvs), np.concatenate(faces), labels)


@pytest.mark.parametrize(("size", "padding"), [(64, 0), (64, 1), (256, 2), (256, 7), (512, 1)])
def test_gaps_hold_and_nothing_leaves_or_overlaps(size: int, padding: int) -> None:
    charts = fans(12)
    uvs = pack(charts, size, padding, NEVER).astype(np.float32).astype(np.float64)
    corners = uvs[charts.face_uvs]
    assert np.minimum(uvs, 1 - uvs).min() * size >= padding
    assert coverage(corners, 4 * size)[1] == 0
    assert measure_gaps(corners, chart_labels(charts.face_uvs), size, 1.0).gap >= 2 * padding


def test_shapes_are_turned_and_scaled_but_never_mirrored_or_bent() -> None:
    charts = fans(9, seed=3)
    uvs = pack(charts, 1024, 4, NEVER)
    for index in range(charts.count):
        rows = charts.owner == index
        before, after = (points[rows] - points[rows].mean(axis=0) for points in (charts.uvs, uvs))
        complex_before, complex_after = before @ [1, 1j], after @ [1, 1j]
        factor = (complex_after @ complex_before.conj()) / (complex_before @ complex_before.conj())  # a turn and a scale, no mirror
        assert complex_after == pytest.approx(factor * complex_before, abs=1e-12)
    ratio = uv_areas(uvs[charts.face_uvs]) / uv_areas(charts.uvs[charts.face_uvs])
    assert ratio.max() == pytest.approx(ratio.min(), rel=1e-9)


def test_charts_fill_more_than_half_of_the_square() -> None:
    assert uv_areas(pack(fans(60), 1024, 4, NEVER)[fans(60).face_uvs]).sum() > 0.5


def test_width_of_a_square_and_of_a_disc() -> None:
    square = Charts(np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]]), np.array([[0, 1, 2], [0, 2, 3]]), np.zeros(2, dtype=int))
    assert inscribed_diameters(square, NEVER) == pytest.approx([2], rel=0.05)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    rim = np.concatenate([[[0, 0]], 3 * np.stack([np.cos(angle), np.sin(angle)], 1)])
    row = np.arange(64)
    disc = Charts(rim, np.stack([np.zeros(64, dtype=int), 1 + row, 1 + (row + 1) % 64], 1), np.zeros(64, dtype=int))
    assert inscribed_diameters(disc, NEVER) == pytest.approx([6], rel=0.05)


@pytest.mark.parametrize(("count", "size", "padding"), [(200, 64, 8), (1, 64, 32)])
def test_what_cannot_fit_is_refused(count: int, size: int, padding: int) -> None:
    with pytest.raises(DoesNotFit, match="larger texture"):
        pack(fans(count), size, padding, NEVER)
