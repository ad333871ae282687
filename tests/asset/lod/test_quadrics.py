"""Quadrics are squared distances, and the place they give is the least of them."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.asset.lod.quadrics import UV_WEIGHT, best_places, border_quadrics, face_quadrics


def value(quadric: np.ndarray, point: np.ndarray) -> float:
    return float(point @ quadric[:25].reshape(5, 5) @ point + 2 * quadric[25:30] @ point + quadric[30])


def test_a_faces_quadric_is_the_squared_distance_to_its_plane() -> None:
    """The plane of a face that lies at z = 2 with u = x, v = y: above it only the height counts, beside its UVs their shift does."""
    flat = np.array([[0.0, 0], [3, 0], [0, 2]])
    corners = np.concatenate([flat, np.full((3, 1), 2.0), UV_WEIGHT * flat], axis=1)
    quadric = face_quadrics(corners[None])[0]
    on_it = np.array([1.0, 0.5, 2.0, UV_WEIGHT, 0.5 * UV_WEIGHT])
    assert abs(value(quadric, on_it)) < 1e-12
    assert abs(value(quadric, on_it + np.array([0, 0, 0.1, 0, 0])) - 0.01) < 1e-12
    shift = 0.1 * UV_WEIGHT
    away = shift**2 / (1 + UV_WEIGHT**2)  # the plane rises by UV_WEIGHT for each unit along x
    assert abs(value(quadric, on_it + np.array([0, 0, 0, shift, 0])) - away) < 1e-12


def test_a_borders_quadric_is_the_squared_distance_in_uv_to_its_line() -> None:
    quadric = border_quadrics(np.array([[[0.0, 1.0], [2.0, 1.0]]]))[0]
    assert abs(value(quadric, np.array([9.0, 9.0, 9.0, 5 * UV_WEIGHT, 1.25 * UV_WEIGHT])) - 0.0625) < 1e-12


def test_faces_and_edges_without_extent_count_nothing() -> None:
    assert not face_quadrics(np.ones((1, 3, 5))).any()
    assert not border_quadrics(np.ones((1, 2, 2))).any()


def test_the_best_place_of_two_planes_is_where_they_are_met() -> None:
    """An edge along x at z = 0, planes z = 0.2 (twice) and x = 0.25: t and s lead to that line."""
    plane = np.zeros((2, 31))
    plane[0, 12], plane[0, 27], plane[0, 30] = 1, -0.2, 0.04  # (z - 0.2)^2
    plane[1, 0], plane[1, 25], plane[1, 30] = 1, -0.25, 0.0625  # (x - 0.25)^2
    quadrics = (2 * plane[:1] + plane[1:])[None]
    along = np.array([[[1.0, 0, 0, 0, 0]]])
    t, s, cost = best_places(quadrics, np.zeros((1, 1, 5)), along, np.array([[0.0, 0, 1]]), np.array([False]))
    assert np.allclose([t[0], s[0]], [0.25, 0.2])
    assert cost[0] < 1e-9
    t, s, cost = best_places(quadrics, np.zeros((1, 1, 5)), along, np.array([[0.0, 0, 1]]), np.array([True]))
    assert (t[0], s[0]) == (0, 0)
    assert abs(cost[0] - 2 * 0.04 - 0.0625) < 1e-9
