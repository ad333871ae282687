"""The tetrahedral grid fills its box, face to face, and cannot turn over."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.records import TetGrid
from dreamfusion_mesh.shape.grid import Lattice, tet_grid
from dreamfusion_mesh.shape.tets import REACH

_PAIRS = torch.tensor([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


def _box(low: tuple[float, float, float], high: tuple[float, float, float], size: int) -> TetGrid:
    return tet_grid(torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64), size)


def _volumes(corners: Tensor) -> Tensor:
    a, b, c, d = corners.unbind(-2)
    return ((b - a) * torch.linalg.cross(c - a, d - a)).sum(dim=-1) / 6


@pytest.fixture(scope="module")
def slab() -> TetGrid:
    return _box((-1, -0.5, -0.25), (1, 0.5, 0.25), 8)


def test_tets_are_positive_and_fill_the_box(slab: TetGrid) -> None:
    volumes = _volumes(slab.vertices[slab.tets])
    assert slab.cell == 0.25
    assert float(volumes.min()) == pytest.approx(0.25**3 / 12, rel=1e-12)
    assert float(volumes.sum()) == pytest.approx(2 * 1 * 0.5, rel=1e-12)


def test_faces_inside_have_two_tets_and_faces_on_the_box_one(slab: TetGrid) -> None:
    triples = slab.tets[:, torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])].reshape(-1, 3).sort(dim=1).values
    faces, uses = triples.unique(dim=0, return_counts=True)
    corners = slab.vertices[faces]
    low, high = slab.vertices.amin(dim=0), slab.vertices.amax(dim=0)
    on_box = ((corners == low).all(dim=1) | (corners == high).all(dim=1)).any(dim=1)
    assert torch.equal(uses, torch.where(on_box, 1, 2))


def test_edges_are_the_tets_own_each_once(slab: TetGrid) -> None:
    assert torch.equal(slab.edges[slab.tet_edges], slab.tets[:, _PAIRS].sort(dim=-1).values)
    assert len(slab.edges.unique(dim=0)) == len(slab.edges)
    assert len(slab.tet_edges.unique()) == len(slab.edges)
    assert len(slab.tets.unique()) == len(slab.vertices)


def test_a_side_that_is_no_whole_number_of_cells_is_widened_evenly() -> None:
    grid = _box((0, 0, 0), (1, 0.6, 0.1), 4)
    low, high = grid.vertices.amin(dim=0), grid.vertices.amax(dim=0)
    assert torch.allclose(low, torch.tensor([0, -0.075, -0.075], dtype=torch.float64), atol=1e-12)
    assert torch.allclose(high, torch.tensor([1, 0.675, 0.175], dtype=torch.float64), atol=1e-12)


def test_a_float32_box_with_whole_numbers_of_cells_is_not_widened() -> None:
    grid = tet_grid(torch.tensor([-0.7, -0.35, -0.7]), torch.tensor([0.7, 0.35, 0.7]), 30)
    assert torch.allclose(grid.vertices.amax(dim=0), torch.tensor([0.7, 0.35, 0.7]), atol=1e-6)
    assert grid.vertices.dtype == torch.float32


def test_the_reach_of_the_deformation_turns_no_tet_over(slab: TetGrid) -> None:
    """A tet's volume is linear in each coordinate, so its least lies at a corner of the cube of all moves: 4096 to look at."""
    moves = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=12)), dtype=torch.float64).reshape(-1, 4, 3) * slab.cell
    on_box = ((slab.vertices == slab.vertices.amin(dim=0)) | (slab.vertices == slab.vertices.amax(dim=0))).any(dim=1)
    inner = slab.vertices[slab.tets[~on_box[slab.tets].any(dim=1)][0]]
    assert float(_volumes(inner + REACH * moves).min()) > 0
    assert float(_volumes(inner + 0.251 * moves).min()) < 0


def test_the_same_arguments_give_the_same_bits(slab: TetGrid) -> None:
    again = Lattice(slab.vertices[0], slab.cell, (8, 4, 2)).grid()
    for name in ("vertices", "tets", "edges", "tet_edges"):
        assert torch.equal(getattr(slab, name), getattr(again, name))


@pytest.mark.parametrize(("high", "size"), [((1, 1, 0), 4), ((1, 1, float("nan")), 4), ((1, 1, 1), 0)])
def test_a_box_without_volume_or_cells_is_refused(high: tuple[float, float, float], size: int) -> None:
    with pytest.raises(ValueError, match="tet_lattice: "):
        _box((0, 0, 0), high, size)
