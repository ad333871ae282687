"""What spreads steps over a surface: an equation that is solved, and values that are neither made nor lost."""

from __future__ import annotations

import pytest
import torch

from dreamfusion_mesh.records import TetGrid
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.smoothing import Smoother
from dreamfusion_mesh.shape.tets.surface import TetSurface

SIZE = 20
CELL = 2 / SIZE


@pytest.fixture(scope="module")
def grid() -> TetGrid:
    """Of a whole box: its tetrahedra all count as near."""
    lattice = tet_lattice(torch.full((3,), -1.0), torch.full((3,), 1.0), SIZE)
    everywhere = torch.ones(lattice.vertex_count, dtype=torch.bool)
    return lattice.part(~everywhere, everywhere)[1]


def _noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cells", [0.3, 1.0, 4.0])
def test_the_equation_is_solved(cells: float, grid: TetGrid) -> None:
    values = _noise(len(grid.vertices))
    smoother = Smoother(grid, cells * CELL)
    assert (smoother._applied(smoother(values)) - values).norm() < 0.01 * values.norm()


def test_a_wave_shrinks_as_the_equation_says(grid: TetGrid) -> None:
    """The Laplacian of cos(k x) is -k^2 cos(k x), so it is divided by 1 + (k length)^2; its slope is 0 on the box's sides, as theirs is."""
    length, k = 2 * CELL, torch.pi
    wave = torch.cos(k * grid.vertices[:, 0])
    inner = grid.vertices.abs().amax(dim=1) < 0.6  # cut-off tetrahedra at the sides have other edges
    shrunk = Smoother(grid, length)(wave)
    torch.testing.assert_close(shrunk[inner], wave[inner] / (1 + (k * length) ** 2), atol=0.02, rtol=0)


def test_values_are_neither_made_nor_lost(grid: TetGrid) -> None:
    values = torch.zeros(len(grid.vertices))
    values[grid.vertices.norm(dim=1).argmin()] = 1.0
    spread = Smoother(grid, 3 * CELL)(values)
    distance = grid.vertices.norm(dim=1)
    assert float(spread.sum()) == pytest.approx(1, abs=0.05)
    assert (spread > -0.001).all()
    assert spread[distance < CELL].mean() > 2 * spread[(distance > 2 * CELL) & (distance < 3 * CELL)].mean()
    constant = torch.full_like(values, 0.7)
    torch.testing.assert_close(Smoother(grid, 3 * CELL)(constant), constant)


@pytest.mark.parametrize("length", [0.0, 3 * CELL])
def test_nothing_stays_nothing(length: float, grid: TetGrid) -> None:
    zero = torch.zeros(len(grid.vertices))
    assert torch.equal(Smoother(grid, length)(zero), zero)


def test_without_a_length_values_stay(grid: TetGrid) -> None:
    values = _noise(len(grid.vertices))
    assert torch.equal(Smoother(grid, 0.0)(values), values)


def test_a_surface_spreads_among_the_band_alone_and_gives_the_same_bits_again(device: torch.device) -> None:
    lattice = tet_lattice(torch.full((3,), -1.0, device=device), torch.full((3,), 1.0, device=device), SIZE)
    points = lattice.positions(torch.arange(lattice.vertex_count, device=device))
    surface = TetSurface(lattice, points.norm(dim=1) - 0.6)
    values = _noise(lattice.vertex_count).to(device)
    spread = surface.spread(values, 2 * CELL)
    near = (points.norm(dim=1) - 0.6).abs() < 0.4 * CELL
    far = (points.norm(dim=1) - 0.6).abs() > 3 * CELL
    assert (spread[far] == 0).all()
    assert spread[near].std() < 0.5 * values[near].std()
    assert torch.equal(spread, surface.spread(values, 2 * CELL))
    assert torch.equal(surface.spread(values, 0.0)[near], values[near])
