"""Smoothing removes what a fitted field adds and keeps what was painted: measured on a ball with stripes, spots and two parts."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from painted import RED, WHITE, ball_points, fluctuations, painted
from torch import Tensor

from dreamfusion_mesh.asset.bake.denoise import smooth_colors


@lru_cache(maxsize=1)
def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Points, the colours painted there, and those with fluctuations."""
    points = ball_points(100_000)
    clean = painted(points)
    return points, clean, (clean + fluctuations(points)).clamp(0, 1)


def some_of_scene() -> tuple[Tensor, Tensor]:
    """A tenth of the points, and the colours with fluctuations: for what does not ask how well they are told apart."""
    points, _, noisy = scene()
    return points[::10], noisy[::10]


def psnr(found: Tensor, wanted: Tensor) -> float:
    return float(-10 * (found - wanted).square().mean().log10())


def kept_contrast(found: Tensor, clean: Tensor, one: Tensor, other: Tensor) -> float:
    """How much of the difference between two sets of points' mean colours is left, along that difference."""
    before, after = (colors[one].mean(dim=0) - colors[other].mean(dim=0) for colors in (clean, found))
    return float(before @ after / (before @ before))


def test_fluctuations_go_and_stripes_spots_and_edges_stay() -> None:
    points, clean, noisy = scene()
    found = smooth_colors(noisy, points, 0.5)
    assert psnr(noisy, clean) < 31
    assert psnr(found, clean) > psnr(noisy, clean) + 7
    height = points[:, 1]
    striped, spotted = (height < 0) & (torch.remainder(height, 0.12) < 0.06), (clean == WHITE).all(dim=1)
    plain, around = (height < 0) & ~striped, (clean == RED).all(dim=1)
    edge = height.abs() < 0.01
    for one, other in ((striped, plain), (spotted, around), (edge & (height > 0), edge & (height < 0))):
        assert 0.95 < kept_contrast(found, clean, one, other) < 1.05
    for part in (edge, striped, spotted):  # where it is hardest, too
        assert psnr(found[part], clean[part]) > psnr(noisy[part], clean[part]) + 5


@pytest.mark.parametrize("strength", [0.0, 1e-300, 1e-30, 1e-4])
def test_a_strength_too_small_to_be_seen_changes_nothing(strength: float) -> None:
    points, _, noisy = scene()
    assert torch.equal(smooth_colors(noisy, points, strength), noisy)


def test_painted_colours_without_fluctuations_are_left_alone() -> None:
    points, clean, _ = scene()
    found = smooth_colors(clean, points, 0.5)
    assert psnr(found, clean) > 50
    assert (found - clean).abs().max() < 0.1


def test_strength_is_a_scale_and_none_changes_nothing() -> None:
    points, noisy = some_of_scene()
    assert torch.equal(smooth_colors(noisy, points, 0.0), noisy)
    changes = [(smooth_colors(noisy, points, strength) - noisy).abs().mean() for strength in (0.1, 0.3, 1.0)]
    assert changes[0] < changes[1] < changes[2]


def test_size_and_place_do_not_matter_nor_does_the_order() -> None:
    points, noisy = some_of_scene()
    found = smooth_colors(noisy, points, 0.5)
    assert psnr(smooth_colors(noisy, 2 * points, 0.5), found) > 60
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(smooth_colors(noisy[order], points[order], 0.5), found[order], atol=1e-4)


def test_each_device_smooths_alike(device: torch.device) -> None:
    points, noisy = some_of_scene()
    found = smooth_colors(noisy.to(device), points.to(device), 0.5)
    assert found.device.type == device.type
    assert torch.allclose(found.cpu(), smooth_colors(noisy, points, 0.5), atol=1e-3)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_no_points_are_no_trouble(strength: float) -> None:
    assert smooth_colors(torch.zeros(0, 3), torch.zeros(0, 3), strength).shape == (0, 3)
