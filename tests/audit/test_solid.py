"""Soundness and distances of surfaces whose answers are known."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from dreamfusion_mesh.audit.readers.written import Written, weld
from dreamfusion_mesh.audit.solid import hausdorff, soundness
from dreamfusion_mesh.records import Mesh

TETRAHEDRON = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
OUTWARD = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def plate(height: float, cells: int = 4, side: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    steps = np.linspace(0, side, cells + 1)
    x, z = (grid.ravel() for grid in np.meshgrid(steps, steps))
    rows = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    faces = np.concatenate([np.stack([rows, rows + cells + 1, rows + 1], 1), np.stack([rows + 1, rows + cells + 1, rows + cells + 2], 1)])
    return np.stack([x, np.full(len(x), height), z], axis=1), faces


def written(vertices: np.ndarray, faces: np.ndarray) -> Written:
    return weld(vertices[faces], None, (), 1, (), ())


def record(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))


def wrong(vertices: np.ndarray, faces: np.ndarray) -> dict[str, float]:
    found = asdict(soundness(vertices, np.asarray(faces)))
    return {name: value for name, value in found.items() if value and name not in ("shells", "smallest_share", "smallest_volume")}


def test_a_closed_outward_shell_is_sound() -> None:
    found = soundness(TETRAHEDRON, OUTWARD)
    assert wrong(TETRAHEDRON, OUTWARD) == {}
    assert (found.shells, found.smallest_share) == (1, 1.0)
    assert found.smallest_volume == pytest.approx(1 / 6, rel=1e-12)


def test_volumes_hold_far_from_the_origin() -> None:
    assert soundness(TETRAHEDRON + 1e6, OUTWARD).smallest_volume == pytest.approx(1 / 6, rel=1e-6)


def test_each_fault_is_counted() -> None:
    assert wrong(TETRAHEDRON, OUTWARD[:3]) == {"open_edges": 3}
    assert wrong(TETRAHEDRON, OUTWARD[:, ::-1]) == {"inward_shells": 1}
    assert wrong(TETRAHEDRON, np.concatenate([OUTWARD[:3], OUTWARD[3:, ::-1]])) == {"inconsistent_edges": 3}
    assert wrong(TETRAHEDRON, np.concatenate([OUTWARD, OUTWARD[:1]])) == {"non_manifold_edges": 3, "duplicate_faces": 1}


def test_two_shells_at_one_edge_are_not_manifold() -> None:
    """Two tetrahedra that share two corners: the edge between them has four faces."""
    mirrored = np.array([[0.0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0, -1]])
    both = written(np.concatenate([TETRAHEDRON, mirrored]), np.concatenate([OUTWARD, OUTWARD + 4]))
    assert wrong(both.vertices, both.faces) == {"non_manifold_edges": 1}


def test_shells_that_meet_at_a_corner_stay_two() -> None:
    both = written(np.concatenate([TETRAHEDRON, -TETRAHEDRON]), np.concatenate([OUTWARD, OUTWARD[:, ::-1] + 4]))
    assert len(both.vertices) == 7
    assert soundness(both.vertices, both.faces).shells == 2
    assert wrong(both.vertices, both.faces) == {}


def test_a_face_without_height_is_degenerate() -> None:
    """An edge split by a corner that lies on it: closed, but one face is a line."""
    vertices = np.concatenate([TETRAHEDRON, [[0.5, 0, 0]]])
    faces = np.concatenate([OUTWARD[1:], [[0, 2, 1]], [[0, 4, 1]]])
    assert wrong(vertices, faces)["degenerate_faces"] == 1
    assert wrong(TETRAHEDRON, np.concatenate([OUTWARD, [[0, 1, 1]]]))["degenerate_faces"] == 1


def test_welding_is_by_exact_position() -> None:
    apart = written(np.concatenate([TETRAHEDRON[:, [0, 1, 2]], [[-0.0, 0.0, 1e-9]]]), np.concatenate([OUTWARD[:3], [[1, 2, 3]]]))
    assert len(apart.vertices) == 4
    split = (
        TETRAHEDRON[OUTWARD].reshape(-1, 3) * np.where(np.arange(12)[:, None] % 2, 1.0, -1.0) * np.where(np.arange(12)[:, None] % 2, 1, -1)
    )
    assert wrong(*_surface(written(split, np.arange(12).reshape(4, 3)))) == {}


def test_the_distance_of_parallel_plates_is_their_height() -> None:
    vertices, faces = plate(0.0)
    for height in (0.25, 0.01):
        other = plate(height)[0]
        assert hausdorff(written(vertices, faces), record(other, faces)) == pytest.approx(height / 2**0.5, rel=1e-5)


def test_the_distance_is_taken_both_ways() -> None:
    """A small plate in a large one's corner is no distance away, but the large one's far corner is."""
    small, large = plate(0.0, side=0.5), plate(0.0, side=1.0)
    assert hausdorff(written(*small), record(*large)) == pytest.approx(0.5, rel=1e-5)
    assert hausdorff(written(*large), record(*small)) == pytest.approx(1.0, rel=1e-5)


def test_a_bulge_between_corners_is_found() -> None:
    """A flat sheet of two faces against the same sheet with its middle pulled up: the corners agree, the middle does not."""
    flat, faces = plate(0.0, cells=1)
    bent = np.concatenate([flat, [[0.5, 0.1, 0.5]]])
    fan = np.array([[0, 4, 1], [1, 4, 3], [3, 4, 2], [2, 4, 0]])
    diagonal = (2 + 0.1**2) ** 0.5
    assert hausdorff(written(flat, faces), record(bent, fan)) == pytest.approx(0.1 / diagonal, rel=1e-5)
    assert hausdorff(written(bent, fan), record(flat, faces)) == pytest.approx(0.1 / 2**0.5, rel=1e-5)


def test_surfaces_far_apart_or_without_area_have_their_distance_too() -> None:
    vertices, faces = plate(0.0)
    assert hausdorff(written(vertices + np.array([0, 1e30, 0]), faces), record(vertices, faces)) == pytest.approx(1e30 / 2**0.5)
    assert hausdorff(written(vertices * 0, faces), record(vertices, faces)) == np.inf


def test_size_and_place_do_not_change_the_distance() -> None:
    (vertices, faces), bent = plate(0.0), plate(0.05)[0]
    for scale, shift in ((1e-4, 0.0), (1e6, 3e6)):
        found = hausdorff(written(vertices * scale + shift, faces), record(bent * scale + shift, faces))
        assert found == pytest.approx(0.05 / 2**0.5, rel=1e-5)


def _surface(found: Written) -> tuple[np.ndarray, np.ndarray]:
    return found.vertices, found.faces
