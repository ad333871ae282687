"""Charts, gaps, narrow charts and density against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from dreamfusion_mesh.audit.uvs import chart_labels, density_ratio, gaps, layout, narrow_charts, signed_areas, smallest_gap


def rectangle(left: float, low: float, width: float, height: float, size: int) -> np.ndarray:
    """Two faces [2, 3, 2] of a rectangle given in texels."""
    corners = np.array([[left, low], [left + width, low], [left + width, low + height], [left, low + height]]) / size
    return corners[np.array([[0, 1, 2], [0, 2, 3]])]


def nearest_labels(picture: np.ndarray) -> int:
    """Brute force: free texels on the shortest king's walk between two labels."""
    places, labels = np.argwhere(picture), picture[picture > 0]
    apart = np.abs(places[:, None] - places[None]).max(axis=2)
    return int(apart[labels[:, None] != labels[None]].min()) - 1


def test_the_gap_is_the_shortest_walk_between_labels() -> None:
    draws = np.random.default_rng(0)
    for _ in range(50):
        picture = np.zeros((40, 40), np.int32)
        for label in range(1, 5):
            row, column = draws.integers(0, 34, 2)
            picture[row : row + draws.integers(1, 6), column : column + draws.integers(1, 6)] = label
        if len(np.unique(picture)) > 2:
            assert smallest_gap(picture) == nearest_labels(picture)


def test_one_chart_alone_has_the_whole_side_as_its_gap() -> None:
    picture = np.zeros((16, 16), np.int32)
    picture[3:5, 3:5] = 1
    assert smallest_gap(picture) == 16


@pytest.mark.parametrize(("apart", "gap"), [(8.0, 8), (7.5, 7), (0.5, 0), (0.0, 0)])
def test_gaps_count_free_texels_between_touched_ones(apart: float, gap: int) -> None:
    uvs = np.concatenate([rectangle(10, 10, 20, 20, 64), rectangle(30 + apart, 10, 20, 20, 64)])
    assert gaps(uvs, np.array([0, 0, 1, 1]), 64, 8.0).gap == gap


def test_charts_that_share_a_texel_have_no_gap() -> None:
    uvs = np.concatenate([rectangle(10, 10, 20.3, 20, 64), rectangle(30.6, 10, 20, 20, 64)])
    found = gaps(uvs, np.array([0, 0, 1, 1]), 64, 8.0)
    assert (found.charts, found.gap) == (2, 0)


@pytest.mark.parametrize(("width", "narrow"), [(7, 1), (8, 0), (20, 0)])
def test_a_chart_is_as_wide_as_the_disc_that_fits(width: int, narrow: int) -> None:
    assert gaps(rectangle(10, 5, width, 50, 64), np.array([0, 0]), 64, 8.0).narrow == narrow
    assert gaps(rectangle(5, 10, 50, width, 64), np.array([0, 0]), 64, 8.0).narrow == narrow


def test_a_slanted_strip_is_measured_across() -> None:
    rows, columns = np.mgrid[:128, :128]
    across = np.abs(rows - columns) / 2**0.5
    assert narrow_charts((across <= 5.2).astype(np.int32), 1, 8.0) == 0
    assert narrow_charts((across <= 3.2).astype(np.int32), 1, 8.0) == 1


def test_a_thin_ring_is_narrow_and_so_is_a_chart_that_covers_no_texel() -> None:
    picture = np.zeros((64, 64), np.int32)
    picture[10:50, 10:50] = 1
    picture[14:46, 14:46] = 0
    assert narrow_charts(picture, 2, 8.0) == 2


def test_faces_that_share_a_uv_corner_are_one_chart() -> None:
    labels = chart_labels(np.array([[0, 1, 2], [2, 3, 4], [5, 6, 7], [8, 9, 3], [7, 10, 11]]))
    assert labels[0] == labels[1] == labels[3]
    assert labels[2] == labels[4] != labels[0]
    assert sorted(set(labels)) == [0, 1]


def test_layout_counts_what_is_wrong() -> None:
    good = rectangle(10, 10, 20, 20, 64)
    assert layout(good) == layout(good[:, [1, 2, 0]])
    found = layout(np.concatenate([good, good[:, ::-1], good[:, [0, 0, 1]], good + 0.6]))
    assert (found.outside, found.flipped, found.empty) == (4, 2, 2)


def test_signed_areas_sum_to_the_rectangle() -> None:
    assert signed_areas(rectangle(10, 10, 20, 24, 64)).sum() == pytest.approx(20 * 24 / 64**2, rel=1e-12)


def test_the_density_ratio_is_of_areas() -> None:
    """Half of the surface drawn twice as fine along each side: areas 4 to 1; a twentieth or less of it does not count."""
    flat = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], dtype=np.float64)
    uvs = flat[:, :, :2] / 4
    corners = np.repeat(flat, 100, axis=0)
    for share, ratio in ((50, 4.0), (4, 1.0), (6, 4.0)):
        scale = np.where(np.arange(100) < share, 2.0, 1.0)[:, None, None]
        assert density_ratio(corners, uvs * scale) == pytest.approx(ratio, rel=1e-12)
        assert density_ratio(corners * 3, uvs * scale) == pytest.approx(ratio, rel=1e-12)


def test_the_density_ratio_weighs_by_surface() -> None:
    """One large face and many tiny ones of another density: the tiny ones are under a twentieth of the surface."""
    flat = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], dtype=np.float64)
    corners = np.concatenate([flat, np.repeat(flat * 0.01, 100, axis=0)])
    assert density_ratio(corners, np.repeat(flat[:, :, :2], 101, axis=0)) == pytest.approx(1.0, rel=1e-12)
    assert density_ratio(flat, np.zeros((1, 3, 2))) == np.inf
