"""Smoothing over cells in space: means, weights by hand, and values that are unlike stay apart."""

from __future__ import annotations

import math

import pytest
import torch

from dreamfusion_mesh.kernels.smooth import occupied_cells, sample_cells, smooth_cells


def row(values: list[float], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in a row, one in the middle of each of as many cells, and their values."""
    points = torch.zeros(len(values), 3, device=device)
    points[:, 0] = torch.arange(len(values), device=device)
    return points, torch.tensor(values, device=device)[:, None].expand(-1, 3).contiguous()


def test_cells_hold_every_point_once_and_its_mean(device: torch.device) -> None:
    points = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)).to(device)
    cells = occupied_cells(points, 12)
    assert cells.counts.sum() == 5000
    assert torch.equal(cells.volume[tuple(cells.places.long().T)].long(), torch.arange(len(cells.counts), device=device))
    assert torch.equal(cells.points.floor().int(), cells.places[cells.owners])
    assert int((cells.volume >= 0).sum()) == len(cells.counts)
    for cell in (0, 7, len(cells.counts) - 1):
        assert torch.allclose(cells.means(points)[cell], points[cells.owners == cell].mean(dim=0), atol=1e-5)
    assert min(cells.volume.shape) >= 2 * 4 + 1


def test_the_filters_weights_are_those_of_tomasi_and_manduchi(device: torch.device) -> None:
    points, values = row([0.0, 0.1, 0.9], device)
    cells = occupied_cells(points, 2)
    found = smooth_cells(cells, values, values, 2, 1.5, 0.2)[:, 0].tolist()

    def weight(distance: float, difference: float) -> float:
        return math.exp(-(distance**2) / (2 * 1.5**2) - 3 * difference**2 / (2 * 0.2**2))

    near, far, across = weight(1, 0.1), weight(2, 0.9), weight(1, 0.8)
    assert found[0] == pytest.approx((0.1 * near + 0.9 * far) / (1 + near + far), abs=1e-6)
    assert found[1] == pytest.approx((0.1 + 0.9 * across) / (1 + near + across), abs=1e-6)
    with pytest.raises(ValueError, match="radius 5"):
        smooth_cells(cells, values, values, 5, 1.0, 1.0)


def test_points_take_like_cells_in_trilinear_shares_and_else_keep_their_own(device: torch.device) -> None:
    points, values = row([0.2, 0.2, 0.2, 0.2], device)
    cells = occupied_cells(points, 3)
    smoothed = torch.tensor([0.1, 0.2, 0.9, 0.9], device=device)[:, None].expand(-1, 3).contiguous()
    found = sample_cells(cells, values, smoothed, 0.05, 0.03)[:, 0].tolist()  # points lie where four cells meet, two of them occupied
    likely = [math.exp(-3 * (0.2 - value) ** 2 / (2 * 0.05**2)) for value in (0.1, 0.2)]
    mean = (0.1 * likely[0] + 0.2 * likely[1] + 2 * 0.03 * 0.2) / (sum(likely) + 2 * 0.03)
    assert found[1] == pytest.approx(mean, abs=1e-5)
    assert found[3] == pytest.approx(0.2, abs=1e-6)


def test_one_point_and_no_extent_are_no_trouble(device: torch.device) -> None:
    point = torch.zeros(3, 3, device=device)
    cells = occupied_cells(point, 160)
    value = torch.full((1, 3), 0.25, device=device)
    assert torch.allclose(smooth_cells(cells, value, value, 3, 2.0, 0.1), value)
    with pytest.raises(ValueError, match="resolution 0"):
        occupied_cells(point, 0)
