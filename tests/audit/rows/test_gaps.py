"""Charts, gaps and narrow charts against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from uv_rectangles import rectangle

from dreamfusion_mesh.audit.atlas import Atlas, uv_layout
from dreamfusion_mesh.audit.rows import gaps
from dreamfusion_mesh.audit.rows.gaps import chart_labels, gaps_row, measure_gaps, wide_charts, with_square
from dreamfusion_mesh.audit.spans import Runs, smallest_gap
from dreamfusion_mesh.config import AuditSettings


def nearest_labels(image: np.ndarray) -> int:
    """Brute force: free texels on the shortest king's walk between two labels."""
    places, labels = np.argwhere(image), image[image > 0]
    apart = np.abs(places[:, None] - places[None]).max(axis=2)
    return int(apart[labels[:, None] != labels[None]].min()) - 1


def runs_of(image: np.ndarray) -> Runs:
    """A label image's runs, each of one cell."""
    row, column = np.nonzero(image)
    return Runs(row, image[row, column].astype(np.int64) - 1, column, column + 1)


def test_the_gap_is_the_shortest_walk_between_labels() -> None:
    draws = np.random.default_rng(0)
    for _ in range(50):
        image = np.zeros((40, 40), np.int32)
        for label in range(1, 5):
            row, column = draws.integers(0, 34, 2)
            image[row : row + draws.integers(1, 6), column : column + draws.integers(1, 6)] = label
        if len(np.unique(image)) > 2:
            assert smallest_gap(runs_of(image), 40) == nearest_labels(image)


def test_one_chart_alone_has_the_whole_side_as_its_gap() -> None:
    image = np.zeros((16, 16), np.int32)
    image[3:5, 3:5] = 1
    assert smallest_gap(runs_of(image), 16) == 16
    assert smallest_gap(runs_of(image * 0), 16) == 16


@pytest.mark.parametrize(("apart", "gap"), [(8.0, 8), (7.5, 7), (0.5, 0), (0.0, 0)])
def test_gaps_count_free_texels_between_touched_ones(apart: float, gap: int) -> None:
    uvs = np.concatenate([rectangle(10, 10, 20, 20, 64), rectangle(30 + apart, 10, 20, 20, 64)])
    assert measure_gaps(uvs, np.array([0, 0, 1, 1]), 64, 8.0).gap == gap


def test_charts_that_share_a_texel_have_no_gap() -> None:
    uvs = np.concatenate([rectangle(10, 10, 20.3, 20, 64), rectangle(30.6, 10, 20, 20, 64)])
    found = measure_gaps(uvs, np.array([0, 0, 1, 1]), 64, 8.0)
    assert (found.charts, found.gap) == (2, 0)


@pytest.mark.parametrize(("width", "narrow"), [(7, 1), (8, 0), (20, 0)])
def test_a_chart_is_as_wide_as_the_disc_that_fits(width: int, narrow: int) -> None:
    assert measure_gaps(rectangle(10, 5, width, 50, 64), np.array([0, 0]), 64, 8.0).narrow == narrow
    assert measure_gaps(rectangle(5, 10, 50, width, 64), np.array([0, 0]), 64, 8.0).narrow == narrow


def test_a_slanted_strip_is_measured_across() -> None:
    rows, columns = np.mgrid[:128, :128]
    across = np.abs(rows - columns) / 2**0.5
    for reach, wide in ((5.2, True), (3.2, False)):
        assert wide_charts((across <= reach).astype(np.int32), 1, 8.0).tolist() == [wide]


def test_a_thin_ring_is_narrow_and_so_is_a_chart_that_covers_no_texel() -> None:
    image = np.zeros((64, 64), np.int32)
    image[10:50, 10:50] = 1
    image[14:46, 14:46] = 0
    assert wide_charts(image, 2, 8.0).tolist() == [False, False]


def test_faces_that_share_a_uv_corner_are_one_chart() -> None:
    labels = chart_labels(np.array([[0, 1, 2], [2, 3, 4], [5, 6, 7], [8, 9, 3], [7, 10, 11]]))
    assert labels[0] == labels[1] == labels[3]
    assert labels[2] == labels[4] != labels[0]
    assert sorted(set(labels)) == [0, 1]


def test_labels_of_any_place_and_size_are_as_far_apart_as_brute_force_finds() -> None:
    """Far ones too, labels in several parts, and one around another."""
    draws = np.random.default_rng(1)
    for trial in range(60):
        image = np.zeros((64, 64), np.int32)
        for _ in range(2 + trial % 7):
            row, column = draws.integers(0, 63, 2)
            image[row : row + draws.integers(1, 9), column : column + draws.integers(1, 9)] = draws.integers(1, 4)
        if trial % 5 == 0:
            image[[0, -1]] = image[:, [0, -1]] = 9
        if len(np.unique(image[image > 0])) > 1:
            assert smallest_gap(runs_of(image), 64) == nearest_labels(image)


def test_squares_are_found_whatever_the_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "_BAND_ROWS", 7)
    draws = np.random.default_rng(2)
    image = np.zeros((50, 50), np.int32)
    for label in range(1, 8):
        row, column = draws.integers(0, 40, 2)
        image[row : row + draws.integers(1, 12), column : column + draws.integers(1, 12)] = label
    for side in (1, 2, 3, 5, 8, 50, 51):
        windows = np.lib.stride_tricks.sliding_window_view(image, (min(side, 50), min(side, 50)))
        whole = windows[(windows.min(axis=(2, 3)) == windows.max(axis=(2, 3))) & (side <= 50)]
        assert set(np.flatnonzero(with_square(image, 7, side))) == set(np.unique(whole)) - {0}


def test_charts_whose_boxes_are_too_large_are_not_measured_for_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "_MOST_BOXES", 0)
    uvs = np.concatenate([rectangle(10, 5, 7, 50, 64), rectangle(30, 5, 4, 50, 64)])
    assert measure_gaps(uvs, np.array([0, 0, 1, 1]), 64, 8.0).narrow is None  # the first has a square that a disc holds
    assert measure_gaps(uvs[2:], np.array([0, 0]), 64, 8.0).narrow == 1
    atlas = Atlas(np.zeros((4, 3, 3)), uvs, np.arange(12).reshape(4, 3), uv_layout(uvs), 64, "")
    row = gaps_row(atlas, AuditSettings())
    assert row.measured["narrow charts"] == "not measured"
    assert "narrow charts not measured" in row.detail
