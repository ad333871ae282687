"""Charts: areas, mirroring, repairs and overlaps, on layouts that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from surfaces import torus

from dreamfusion_mesh.asset.uv.charts import (
    Charts,
    equalize_density,
    face_neighbours,
    isolate_faces,
    overlapping,
    regroup,
    split_overlaps,
    surface_areas,
    unflip_charts,
)
from dreamfusion_mesh.geometry.areas import uv_areas

SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def ribbon(turns: float, steps: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A spiral ramp: UVs that lie over themselves after one turn, the surface in space, and its faces."""
    angle = np.linspace(0, 2 * np.pi * turns, steps + 1)
    inner, outer = (radius * np.stack([np.cos(angle), np.sin(angle)], 1) for radius in (0.5, 1.0))
    uvs = np.concatenate([inner, outer])
    vertices = np.concatenate([uvs, np.tile(angle / 20, 2)[:, None]], axis=1)
    row = np.arange(steps)
    quads = np.stack([row, row + steps + 1, row + steps + 2, row + 1], axis=1)
    return uvs, vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def test_areas_of_a_square() -> None:
    assert uv_areas(SQUARE[TWO]).tolist() == [0.5, 0.5]
    assert uv_areas(SQUARE[TWO[:, ::-1]]).tolist() == [-0.5, -0.5]
    assert surface_areas(np.concatenate([SQUARE, np.ones((4, 1))], axis=1), TWO).tolist() == [0.5, 0.5]


def test_neighbours_of_a_closed_surface_are_one_pair_an_edge() -> None:
    faces = torus(12, 6).faces.numpy()
    pairs = face_neighbours(faces)
    assert len(pairs) == len(faces) * 3 // 2
    assert (np.bincount(pairs.reshape(-1)) == 3).all()


def test_regroup_parts_faces_that_touch_in_a_point_alone() -> None:
    uvs = np.array([[0.0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    charts = regroup(uvs, np.array([[0, 1, 2], [0, 3, 4]]), np.zeros(2, dtype=int))
    assert charts.count == 2
    assert len(charts.uvs) == 6
    assert np.array_equal(np.sort(charts.owner), [0, 0, 0, 1, 1, 1])


def test_flipped_charts_are_mirrored_without_changing_shape() -> None:
    charts = regroup(np.concatenate([SQUARE, SQUARE * [-1, 1] + 3]), np.concatenate([TWO, TWO + 4]), np.zeros(4, dtype=int))
    turned = unflip_charts(charts)
    assert uv_areas(turned.uvs[turned.face_uvs]).tolist() == [0.5] * 4
    assert np.array_equal(np.abs(turned.uvs), np.abs(charts.uvs))


def test_a_cut_face_keeps_its_true_shape() -> None:
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [3, 4, 0], [0, 4, 5]])
    charts = isolate_faces(Charts(SQUARE, TWO, np.zeros(2, dtype=int)), np.array([False, True]), vertices, TWO)
    assert charts.count == 2
    flat, solid = charts.uvs[charts.face_uvs[1]], vertices[TWO[1]]
    lengths = [np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1) for corners in (flat, solid)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-12)
    assert uv_areas(charts.uvs[charts.face_uvs])[1] > 0


def test_equal_density_means_equal_area_in_uv_and_space() -> None:
    vertices = np.concatenate([SQUARE * 7, np.zeros((4, 1))], axis=1)
    charts = equalize_density(Charts(SQUARE * 0.1, TWO, np.zeros(2, dtype=int)), vertices, TWO)
    assert uv_areas(charts.uvs[charts.face_uvs]).sum() == pytest.approx(49, rel=1e-12)


@pytest.mark.parametrize(("turns", "over"), [(0.9, False), (1.1, True), (2.7, True)])
def test_a_spiral_ramp_overlaps_after_a_full_turn(turns: float, over: bool) -> None:
    uvs, vertices, faces = ribbon(turns)
    inward = np.linspace(1, 0.8, len(uvs) // 2)  # the second round lies across the first, not edge on edge
    charts = Charts(uvs * np.tile(inward, 2)[:, None], faces, np.zeros(len(faces), dtype=int))
    assert overlapping(charts).any() == over
    parted = split_overlaps(charts, vertices, faces)
    assert (parted.count > 1) == over
    assert not overlapping(parted).any()
    assert len(parted.chart) == len(faces)
    assert np.array_equal(parted.uvs[parted.face_uvs], charts.uvs[charts.face_uvs])


def fan(*sectors: tuple[float, float]) -> Charts:
    """Triangles around one corner, each from one angle to another, in degrees; sectors that meet share their edge."""
    angles = np.unique(np.mod(np.concatenate(sectors), 360))
    rim = np.stack([np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))], axis=1)
    faces = np.array([[0, *(1 + np.searchsorted(angles, np.mod(ends, 360)))] for ends in sectors])
    return Charts(np.concatenate([[[0.0, 0.0]], rim]), faces, np.zeros(len(faces), dtype=int))


@pytest.mark.parametrize(
    ("sectors", "over"),
    [
        ([(0, 120), (120, 240), (240, 360)], False),  # once round, closed
        ([(0, 100), (100, 200), (200, 300)], False),
        ([(0, 120), (120, 240), (240, 350), (350, 450)], True),  # more than once round
        ([(0, 60), (180, 250)], False),  # two fans at one corner, apart
        ([(0, 100), (50, 140)], True),  # and one over the other
        ([(-170, -60), (150, 200)], True),  # across the angle where arctan jumps
        ([(-170, -60), (150, 190)], False),
    ],
)
def test_overlapping_faces_round_a_vertex_are_found(sectors: list[tuple[float, float]], over: bool) -> None:
    assert overlapping(fan(*sectors)).any() == over


def test_overlaps_are_searched_in_the_selected_charts_only() -> None:
    both = Charts(SQUARE[[0, 1, 2, 3, 0, 1, 2, 3]] * 1.0, np.array([[0, 1, 2], [4, 5, 6]]), np.array([0, 1]))
    assert not overlapping(both).any()  # two charts may lie over one another until they are packed
    folded = fan((0, 100), (50, 140))
    assert not overlapping(folded, np.array([False])).any()
