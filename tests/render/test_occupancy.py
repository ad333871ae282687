"""The occupancy grid: what it keeps, what it drops, how it comes back."""

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from dreamfusion_mesh.render.volume import OccupancyGrid


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plate(points: Tensor) -> Tensor:
    """A plate thinner than a cell."""
    return 80 * (points[:, 1].abs() < 0.04).float()


def test_occupancy_keeps_every_cell_that_holds_something_and_drops_the_rest() -> None:
    grid = OccupancyGrid(16)
    assert grid.occupied.all()
    chance = draws()
    for _ in range(8):
        grid.update(plate, chance, 0)
    assert grid.occupied[:, 7:9].all()
    assert not grid.occupied[:, :6].any()
    assert not grid.occupied[:, 10:].any()


def test_what_vanished_decays_out_of_the_grid() -> None:
    grid = OccupancyGrid(8, decay=0.5)
    grid.update(plate, draws(), 0)
    assert float(grid.values.max()) == 80
    for _ in range(3):
        grid.update(lambda points: torch.zeros(len(points)), draws(), 0)
    assert float(grid.values.max()) == 10
    assert grid.occupied.any()


def test_after_the_warm_up_an_update_visits_half_of_the_cells_each_once() -> None:
    grid = OccupancyGrid(8, half_extent=0.5, warm_up=10)
    asked: list[Tensor] = []
    grid.update(lambda points: asked.append(points) or torch.ones(len(points)), draws(), 9)
    grid.update(lambda points: asked.append(points) or torch.ones(len(points)), draws(), 10)
    cells = [((points + 0.5) * 8).floor().long() @ torch.tensor([64, 8, 1]) for points in asked]
    assert sorted(cells[0].tolist()) == list(range(512))
    assert len(cells[1]) == len(cells[1].unique()) == 256
    assert all((points.abs() <= 0.5).all() for points in asked)


def test_a_saved_grid_comes_back() -> None:
    grid, other = OccupancyGrid(8), OccupancyGrid(8)
    grid.update(plate, draws(), 0)
    other.load_state_dict(load(save(grid.state_dict())))
    assert torch.equal(grid.values, other.values)
    assert torch.equal(grid.occupied, other.occupied)
    assert not other.occupied.all()


@pytest.mark.parametrize("given", [{"size": 0}, {"half_extent": 0.0}, {"threshold": -1.0}, {"decay": 1.0}])
def test_a_grid_that_cannot_be_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(given))} {next(iter(given.values()))}.* expected"):
        OccupancyGrid(**{"size": 8, **given})


def test_bounds_hold_what_is_occupied_and_all_where_nothing_is() -> None:
    grid = OccupancyGrid(8, half_extent=2.0)
    grid.occupied.fill_(False)
    grid.occupied[2, 3:5, 7] = True
    assert [corner.tolist() for corner in grid.bounds()] == [[-1.0, -0.5, 1.5], [-0.5, 0.5, 2.0]]
    grid.occupied.fill_(False)
    assert [corner.tolist() for corner in grid.bounds()] == [[-2.0] * 3, [2.0] * 3]
