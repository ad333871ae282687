"""Convex hulls: their planes, fewer corners that still contain them, and flat ones."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from dreamfusion_mesh.asset.collision.convex import closed_solid, hull_of, merged, union_volume, with_fewer_corners

CORNERS = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T.astype(np.float64)


def ball(count: int = 400) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return 0.3 * points / np.linalg.norm(points, axis=1, keepdims=True)


def rounded_box() -> np.ndarray:
    return (CORNERS[:, None] * [0.6, 0.2, 0.4] + 0.1 * ball(60)[None]).reshape(-1, 3)


def test_a_cubes_hull_has_its_corners_planes_and_volume() -> None:
    inside = np.random.default_rng(0).uniform(size=(50, 3))
    hull = hull_of(np.concatenate([inside, CORNERS]))
    assert sorted(map(tuple, hull.points)) == sorted(map(tuple, CORNERS))
    assert hull.volume == pytest.approx(1, abs=1e-12)
    assert not hull.thickened
    assert hull.outside(np.array([[0.5, 0.5, 0.5], [1.25, 0.5, 0.5], [0.5, 0.5, 1]])) == pytest.approx([-0.5, 0.25, 0], abs=1e-12)


@pytest.mark.parametrize(("points", "most", "volume"), [(ball(), 32, 1.15), (rounded_box(), 32, 1.07), (ball(), 12, 1.8)])
def test_fewer_corners_contain_the_hull_and_add_little(points: np.ndarray, most: int, volume: float) -> None:
    hull = hull_of(points)
    found = with_fewer_corners(hull, most)
    assert len(hull.points) > most >= len(found.points)
    assert found.outside(points).max() <= 1e-8
    assert 1 <= found.volume / hull.volume <= volume


def test_a_layer_may_be_left_out_for_a_smaller_volume() -> None:
    hull = hull_of(ball())
    full, less = with_fewer_corners(hull, 32), with_fewer_corners(hull, 32, 0.008)
    assert less.volume < full.volume
    assert 0 < less.outside(hull.points).max() <= 0.008 + 1e-8


def test_few_corners_stay_as_they_are() -> None:
    assert with_fewer_corners(hull_of(CORNERS), 8).points.tolist() == hull_of(CORNERS).points.tolist()


def test_corners_that_lie_on_an_edge_go() -> None:
    """Their faces would have no area once rounded to float32."""
    along = np.linspace(0, 1, 9)[1:-1, None] * [1.0, 0, 0] + [0, -2e-6, 0]
    hull = hull_of(np.concatenate([CORNERS, along]))
    assert len(hull.points) > 8
    assert len(with_fewer_corners(hull, 32).points) == 8


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 1), (0,), ()])
def test_points_of_any_dimension_have_a_closed_hull_with_volume(axes: tuple[int, ...]) -> None:
    points = np.zeros((200, 3))
    points[:, axes] = np.random.default_rng(1).uniform(size=(200, len(axes)))
    hull = with_fewer_corners(hull_of(points), 32)
    solid = trimesh.Trimesh(hull.points, hull.faces, process=False)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(hull.volume)
    assert hull.volume > 0
    assert len(hull.points) <= 32
    assert hull.outside(points).max() <= 1e-8


def test_what_overlaps_counts_once() -> None:
    shifted = [hull_of(CORNERS + np.array([step, 0, 0])) for step in (0, 0.5, 3)]
    assert union_volume(shifted) == pytest.approx(2.5)


def test_the_nearest_groups_are_joined() -> None:
    groups = [CORNERS + np.array([place, 0, 0]) for place in (0, 10, 1.1, 21, 11.2)]
    found = sorted((group[:, 0].min(), group[:, 0].max()) for group in merged(groups, 3))
    assert found == [(0, 2.1), (10, 12.2), (21, 22)]
    assert all(one is not other and (one == other).all() for one, other in zip(merged(groups, 5), groups, strict=True))


def test_only_a_closed_surface_that_faces_outwards_is_a_solid() -> None:
    box = trimesh.creation.box()
    assert closed_solid(box.vertices, box.faces).volume() == pytest.approx(1)
    assert closed_solid(box.vertices, box.faces[1:]) is None
    assert closed_solid(box.vertices, box.faces[:, ::-1]) is None
