"""Distances between surfaces whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dreamfusion_mesh.audit.distance import hausdorff
from dreamfusion_mesh.audit.readers.written import Materials, Written, from_corners
from dreamfusion_mesh.records import Mesh


def plate(height: float, cells: int = 4, side: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    steps = np.linspace(0, side, cells + 1)
    x, z = (grid.ravel() for grid in np.meshgrid(steps, steps))
    rows = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    faces = np.concatenate([np.stack([rows, rows + cells + 1, rows + 1], 1), np.stack([rows + 1, rows + cells + 1, rows + cells + 2], 1)])
    return np.stack([x, np.full(len(x), height), z], axis=1), faces


def written(vertices: np.ndarray, faces: np.ndarray) -> Written:
    return from_corners("glTF", vertices[faces], None, Materials(1))


def record(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))


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


def test_scale_and_position_do_not_change_the_distance() -> None:
    (vertices, faces), bent = plate(0.0), plate(0.05)[0]
    for scale, shift in ((1e-4, 0.0), (1e6, 3e6)):
        found = hausdorff(written(vertices * scale + shift, faces), record(bent * scale + shift, faces))
        assert found == pytest.approx(0.05 / 2**0.5, rel=1e-5)


def test_the_reference_may_lie_on_any_device_and_carry_gradients(device: torch.device) -> None:
    vertices, faces = plate(0.0)
    reference = record(plate(0.25)[0], faces).to(device)
    reference.vertices.requires_grad_()
    assert hausdorff(written(vertices, faces), reference) == pytest.approx(0.25 / 2**0.5, rel=1e-5)


def test_vertices_that_no_face_uses_change_nothing() -> None:
    vertices, faces = plate(0.0)
    stray = np.concatenate([plate(0.25)[0], [[50.0, 60.0, 70.0]]])
    assert hausdorff(written(vertices, faces), record(stray, faces)) == pytest.approx(0.25 / 2**0.5, rel=1e-5)


def test_the_same_surfaces_have_the_same_distance_bit_for_bit() -> None:
    (vertices, faces), draws = plate(0.0), np.random.default_rng(0)
    rough = vertices + draws.normal(size=vertices.shape) * 0.01
    assert hausdorff(written(vertices, faces), record(rough, faces)) == hausdorff(written(vertices, faces), record(rough, faces))
