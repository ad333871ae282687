"""The way from density to signed distance: threshold, box, and the surface between them."""

from __future__ import annotations

import math

import pytest
import torch
from lattices import euler, is_closed
from outcomes import poor_outcome
from torch import Tensor

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.shape.start.from_density import density_threshold, occupied_box, sdf_from_density
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.marching import marching_tets


def test_threshold_recovers_the_level_that_made_the_opacity() -> None:
    peaks = torch.rand(5000, generator=torch.Generator().manual_seed(1)) * 40
    opacity = torch.where(peaks > 13, 0.9, 0.1)
    assert density_threshold(peaks, opacity) == pytest.approx(13, abs=0.05)


def test_threshold_maximises_the_overlap_where_the_two_disagree() -> None:
    draws = torch.Generator().manual_seed(2)
    peaks = torch.rand(2000, generator=draws) * 40
    opacity = torch.sigmoid((peaks - 13 + 6 * torch.randn(2000, generator=draws)) / 2)
    opaque, level = opacity > 0.5, density_threshold(peaks, opacity)

    def overlap(tau: float) -> float:
        return float(((peaks > tau) & opaque).sum() / ((peaks > tau) | opaque).sum())

    assert overlap(level) == max(overlap(tau) for tau in (peaks + 1e-5).tolist())


def test_threshold_lies_in_the_middle_of_a_gap() -> None:
    assert density_threshold(torch.tensor([0.0, 2.0, 30.0, 50.0]), torch.tensor([0.0, 0.0, 1.0, 1.0])) == 16


@pytest.mark.parametrize(
    ("peaks", "opacity", "kind", "message"),
    [
        ([0.0, 0.25], [0.0, 0.1], "empty", r"\[0, 0.25\].*opaque pixels.*fine.threshold=VALUE"),
        ([0.0, 1e-5], [0.9, 0.9], "empty", r"\[0, 1e-05\].*coarse.steps"),
        ([0.0, float("nan")], [0.0, 1.0], "diverged", "nan.*finite"),
    ],
)
def test_threshold_of_an_empty_field_names_the_range(peaks: list[float], opacity: list[float], kind: str, message: str) -> None:
    with poor_outcome(kind, message):
        density_threshold(torch.tensor(peaks), torch.tensor(opacity))


def _ball(center: tuple[float, float, float], radius: float, edge: float = 0.01) -> Tensor:
    return torch.tensor([*center, radius, edge])


def _balls(*balls: Tensor) -> object:
    def density(points: Tensor) -> Tensor:
        each = [50 * torch.sigmoid((ball[3] - (points - ball[:3]).norm(dim=1)) / ball[4]) for ball in balls]
        return torch.stack(each).amax(dim=0)

    return density


def test_the_box_holds_the_largest_part_and_drops_floaters() -> None:
    density = _balls(_ball((0.2, 0, 0), 0.4), _ball((-0.7, 0.7, 0.7), 0.08))
    box = occupied_box(density, 25.0, 50, 0.02)
    margin = 0.1 * 0.8
    assert torch.allclose(box.low, torch.tensor([-0.2, -0.4, -0.4]) - margin, atol=0.05)
    assert torch.allclose(box.high, torch.tensor([0.6, 0.4, 0.4]) + margin, atol=0.05)
    assert bool((box.low < torch.tensor([-0.2, -0.4, -0.4])).all())
    points = torch.tensor([[0.2, 0.0, 0.0], [0.55, 0.0, 0.0], [-0.7, 0.7, 0.7], [-0.72, 0.76, 0.7]])
    assert box.keeps(points).tolist() == [True, True, False, False]


def test_parts_above_the_smallest_share_stay() -> None:
    density = _balls(_ball((0.4, 0, 0), 0.4), _ball((-0.6, 0, 0), 0.2))
    assert float(occupied_box(density, 25.0, 40, 0.05).low[0]) < -0.8
    assert float(occupied_box(density, 25.0, 40, 0.2).low[0]) > -0.3


def test_the_box_stays_near_the_scene() -> None:
    box = occupied_box(lambda points: torch.ones(len(points)), 0.5, 8, 0.0)
    assert torch.equal(box.low, torch.full((3,), -1.05))
    assert torch.equal(box.high, torch.full((3,), 1.05))


def test_nothing_above_the_threshold_names_the_range() -> None:
    with poor_outcome("empty", r"\[0.125, 0.125\].*threshold 9.*coarse.steps"):
        occupied_box(lambda points: torch.full((len(points),), 0.125), 9.0, 8, 0.0)
    with poor_outcome("diverged", r"\[nan, nan\].*threshold 9"):
        occupied_box(lambda points: torch.full((len(points),), float("nan")), 9.0, 8, 0.0)
    with pytest.raises(BadInput, match=r"fine\.threshold: 0"):
        occupied_box(lambda points: torch.ones(len(points)), 0.0, 8, 0.0)


@pytest.mark.parametrize(("edge", "off"), [(1e-4, 0.12), (0.01, 0.02), (0.1, 0.02)])
def test_a_ball_of_density_becomes_a_smooth_sphere(edge: float, off: float) -> None:
    """However hard its edge (a cell is 0.045): a staircase would leave vertices a third of a cell off and tilt faces by tens of degrees."""
    center, radius, level = (0.013, 0.027, -0.031), 0.6, 10.0
    density = _balls(_ball(center, radius, edge))
    box = occupied_box(density, level, 32, 0.02)
    lattice = tet_lattice(box.low, box.high, 32)
    grid = lattice.grid()
    sdf = sdf_from_density(density, level, box, lattice)
    mesh = marching_tets(grid.vertices, sdf, grid)
    exact = radius - edge * math.log(level / (50 - level))
    middle = torch.tensor(center)
    assert is_closed(mesh)
    assert euler(mesh) == 2
    assert float((mesh.vertices - middle).norm(dim=1).sub(exact).abs().max()) < off * grid.cell
    assert float(signed_volume(mesh.vertices, mesh.faces)) == pytest.approx(4 / 3 * math.pi * exact**3, rel=2e-3)
    a, b, c = (mesh.vertices - middle)[mesh.faces].unbind(1)
    doubled = torch.linalg.cross(b - a, c - a)
    tilt = torch.cosine_similarity(doubled, a + b + c, dim=1)
    assert float((tilt * doubled.norm(dim=1)).sum() / doubled.norm(dim=1).sum()) > 0.999
    near = sdf.abs() < 0.5 * grid.cell
    assert float(((grid.vertices - middle).norm(dim=1) - exact - sdf)[near].abs().mean()) < 0.015 * grid.cell


def test_dropped_parts_are_outside_and_what_leaves_the_box_is_cut_closed() -> None:
    density = _balls(_ball((0.5, 0, 0), 0.7, 0.02), _ball((-0.8, 0.5, 0), 0.1, 0.02))
    box = occupied_box(density, 25.0, 32, 0.1)
    lattice = tet_lattice(torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([0.9, 1.0, 1.0]), 32)
    grid = lattice.grid()
    sdf = sdf_from_density(density, 25.0, box, lattice)
    mesh = marching_tets(grid.vertices, sdf, grid)
    assert bool((sdf[lattice.on_boundary(torch.arange(len(sdf)))] > 0).all())
    assert float(sdf[(grid.vertices - torch.tensor([-0.8, 0.5, 0.0])).norm(dim=1) < 0.1].min()) > 0
    assert float(sdf.abs().max()) <= grid.cell * (1 + 1e-6)
    assert is_closed(mesh)
    assert soundness(mesh).shells == 1
    assert float(mesh.vertices[:, 0].max()) < float(grid.vertices[:, 0].max())
