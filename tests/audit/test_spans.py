"""Cells of UV faces: a sheet covers each centre once whatever its triangles, and touched cells are those that clipping finds."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.spatial import Delaunay

from dreamfusion_mesh.audit import spans as audit_spans
from dreamfusion_mesh.audit.atlas import coverage
from dreamfusion_mesh.audit.spans import centre_spans, label_image, touched_spans


def sheet(points: np.ndarray) -> np.ndarray:
    """The whole square cut into triangles over `points` [N, 2] and its corners, as UVs [F, 3, 2]."""
    every = np.concatenate([[[0, 0], [1, 0], [0, 1], [1, 1]], points]).astype(np.float32).astype(np.float64)
    return every[Delaunay(every).simplices]


def clip(polygon: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    """The part of a convex polygon where normal . p <= offset (Sutherland, Hodgman)."""
    kept: list[np.ndarray] = []
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        da, db = normal @ a - offset, normal @ b - offset
        kept += [a] if da <= 0 else []
        kept += [a + (b - a) * da / (da - db)] if (da < 0 < db) or (db < 0 < da) else []
    return np.array(kept).reshape(-1, 2)


def has_part_in_cell(triangle: np.ndarray, column: int, row: int) -> bool:
    part = triangle
    for axis, low in ((0, column), (1, row)):
        for sign, bound in ((1, low + 1), (-1, -low)):
            part = clip(part, sign * np.eye(2)[axis], bound) if len(part) else part
    if len(part) < 3:
        return False
    rest = part - part[0]
    return abs(np.sum(rest[:-1, 0] * rest[1:, 1] - rest[:-1, 1] * rest[1:, 0])) > 1e-9


@pytest.mark.parametrize("grid", [7, 64, 256, 1000])
def test_a_sheet_covers_every_centre_exactly_once(grid: int) -> None:
    points = np.random.default_rng(grid).random((200, 2))
    assert coverage(sheet(points), grid) == (grid * grid, 0)


def test_corners_and_edges_through_centres_are_counted_once() -> None:
    grid = 32
    centres = (np.random.default_rng(1).integers(grid, size=(100, 2)) + 0.5) / grid
    assert coverage(sheet(np.unique(centres, axis=0)), grid) == (grid * grid, 0)


def test_winding_does_not_matter_and_faces_without_area_cover_nothing() -> None:
    uvs = sheet(np.random.default_rng(2).random((50, 2)))
    assert coverage(uvs[:, ::-1], 64) == (64 * 64, 0)
    line = np.array([[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]])
    assert coverage(np.concatenate([uvs, line]), 64) == (64 * 64, 0)


def test_an_overlap_is_counted_to_the_cell() -> None:
    """Two squares of 16 x 16 cells, one moved by (5, 3): they share 11 x 13 cells."""
    square = np.array([[[0, 0], [16, 0], [16, 16]], [[0, 0], [16, 16], [0, 16]]]) / 64
    assert coverage(np.concatenate([square, square + np.array([5, 3]) / 64]), 64) == (2 * 256 - 11 * 13, 11 * 13)
    assert coverage(np.concatenate([square] * 3), 64) == (256, 512)
    assert coverage(np.concatenate([square, square + np.array([16, 0]) / 64]), 64) == (512, 0)


def test_bands_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    uvs = sheet(np.random.default_rng(3).random((50, 2)))
    whole = [coverage(uvs[::2], 128), label_image(touched_spans(uvs[::2], 128), np.arange(len(uvs)), 128)]
    monkeypatch.setattr(audit_spans, "_SPANS_PER_BAND", 50)
    assert len(list(centre_spans(uvs, 128))) > 50
    again = [coverage(uvs[::2], 128), label_image(touched_spans(uvs[::2], 128), np.zeros(len(uvs), np.int64), 128)]
    assert whole[0] == again[0]
    assert np.array_equal(whole[1][0] > 0, again[1][0] > 0)


def test_touched_cells_are_those_a_clipped_face_reaches() -> None:
    grid = 12
    for triangle in np.random.default_rng(4).random((40, 3, 2)):
        image, _ = label_image(touched_spans(triangle[None], grid), np.zeros(1, np.int64), grid)
        wanted = [[has_part_in_cell(triangle * grid, column, row) for column in range(grid)] for row in range(grid)]
        assert np.array_equal(image > 0, np.array(wanted))


def test_cells_on_the_edge_of_a_face_are_not_touched() -> None:
    square = np.array([[[2, 2], [5, 2], [5, 5]], [[2, 2], [5, 5], [2, 5]]]) / 8
    image, _ = label_image(touched_spans(square, 8), np.zeros(2, np.int64), 8)
    wanted = np.zeros((8, 8), bool)
    wanted[2:5, 2:5] = True
    assert np.array_equal(image > 0, wanted)


def test_cells_that_two_labels_share_are_counted() -> None:
    square = np.array([[[0, 0], [4, 0], [4, 4]], [[0, 0], [4, 4], [0, 4]]]) / 8
    both = np.concatenate([square, square + np.array([3, 0]) / 8])
    assert label_image(touched_spans(both, 8), np.array([0, 0, 1, 1]), 8)[1] == 4
    assert label_image(touched_spans(both, 8), np.array([0, 0, 0, 0]), 8)[1] == 0


def test_faces_that_cover_one_another_cost_no_more_than_their_rows() -> None:
    """As of a tiled texture: 400 faces on half of the square each, which are 200 times as many cells as the square has."""
    tiles = np.tile([[[0.0, 0], [1, 0], [1, 1]]], (400, 1, 1))
    labels = np.arange(400) % 3
    tracemalloc.start()
    try:
        image, shared = label_image(touched_spans(tiles, 1024), labels, 1024)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**28
    assert shared == 2 * (image > 0).sum()
    assert np.array_equal(image > 0, np.tri(1024).T > 0)


def test_spans_of_one_label_are_joined_before_they_are_counted() -> None:
    """Random faces of a few labels give, cell by cell, what painting them one after another counts."""
    draws = np.random.default_rng(7)
    uvs, labels = draws.random((60, 3, 2)), draws.integers(4, size=60)
    image, shared = label_image(touched_spans(uvs, 32), labels, 32)
    layers = [label_image(touched_spans(uvs[labels == label], 32), np.zeros(60, np.int64), 32)[0] > 0 for label in range(4)]
    depth = np.sum(layers, axis=0)
    assert shared == np.maximum(depth - 1, 0).sum()
    assert np.array_equal(image > 0, depth > 0)
    assert all(layers[label - 1][image == label].all() for label in range(1, 5))
