"""Marching tetrahedra, the way from density to signed distance, and the surface's parameters."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.grid import tet_grid
from dreamfusion_mesh.shape.soundness import signed_volume, soundness
from dreamfusion_mesh.shape.tets import (
    REACH,
    TetSurface,
    density_threshold,
    marching_tets,
    occupied_box,
    on_boundary,
    sdf_from_density,
    sdf_sign_loss,
)


def _cube(size: int, dtype: torch.dtype = torch.float64) -> TetGrid:
    return tet_grid(-torch.ones(3, dtype=dtype), torch.ones(3, dtype=dtype), size)


def _euler(mesh: Mesh) -> int:
    return len(mesh.vertices) - 3 * len(mesh.faces) // 2 + len(mesh.faces)


def _is_closed(mesh: Mesh) -> bool:
    found = soundness(mesh)
    return len(mesh.faces) > 0 and found.open_edges == found.nonmanifold_edges == found.inconsistent_edges == found.duplicate_faces == 0


def _one_tet() -> TetGrid:
    vertices = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    edges = torch.tensor([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
    return TetGrid(vertices, torch.tensor([[0, 1, 2, 3]]), edges, torch.arange(6)[None], 1.0)


@pytest.mark.parametrize("signs", itertools.product((-1.0, 1.0), repeat=4))
def test_one_tet_worked_through_by_hand(signs: tuple[float, ...]) -> None:
    """One corner apart: a quarter of the face across. Two and two: a parallelogram. Always flat and facing the positive corners."""
    grid, sdf = _one_tet(), torch.tensor(signs, dtype=torch.float64)
    mesh = marching_tets(grid.vertices, sdf, grid)
    negative = sum(sign < 0 for sign in signs)
    assert len(mesh.faces) == {0: 0, 1: 1, 2: 2, 3: 1, 4: 0}[negative]
    if len(mesh.faces) == 0:
        return
    ends = grid.edges[sdf[grid.edges].prod(dim=1) < 0]
    assert torch.equal(mesh.vertices, grid.vertices[ends].mean(dim=1))
    outwards = grid.vertices[sdf > 0].mean(dim=0) - grid.vertices[sdf < 0].mean(dim=0)
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    doubled = torch.linalg.cross(b - a, c - a)
    assert bool((doubled @ outwards > 0).all())
    inner, outer = grid.vertices[sdf < 0], grid.vertices[sdf > 0]
    if negative == 2:
        area = torch.linalg.cross(inner[1] - inner[0], outer[1] - outer[0]).norm() / 4
    else:
        across = outer if negative == 1 else inner
        area = torch.linalg.cross(across[1] - across[0], across[2] - across[0]).norm() / 2 / 4
    assert float(doubled.norm(dim=1).sum() / 2) == pytest.approx(float(area), rel=1e-12)
    assert float(doubled.sum(dim=0).norm() / 2) == pytest.approx(float(area), rel=1e-12)


def test_a_sphere_is_closed_outward_and_second_order() -> None:
    radius, errors = 0.7, []
    for size in (16, 32):
        grid = _cube(size)
        sdf = (grid.vertices.norm(dim=1) - radius).requires_grad_()
        mesh = marching_tets(grid.vertices, sdf, grid)
        volume = signed_volume(mesh.vertices, mesh.faces)
        (slope,) = torch.autograd.grad(volume, sdf)
        assert _is_closed(mesh)
        assert _euler(mesh) == 2
        errors.append(volume.item() / (4 / 3 * math.pi * radius**3) - 1)
        assert float(slope.sum()) == pytest.approx(-4 * math.pi * radius**2, rel=0.08 / (size / 16) ** 2)
    assert -0.01 < errors[0] < 0
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.15)


def test_shifting_the_sdf_moves_the_volume_by_its_gradient() -> None:
    grid = _cube(16)
    sdf = (grid.vertices.norm(dim=1) - 0.7).requires_grad_()

    def volume(values: Tensor) -> Tensor:
        mesh = marching_tets(grid.vertices, values, grid)
        return signed_volume(mesh.vertices, mesh.faces)

    (slope,) = torch.autograd.grad(volume(sdf), sdf)
    step = 1e-6
    with torch.no_grad():
        moved = (volume(sdf + step) - volume(sdf - step)) / (2 * step)
    assert float(slope.sum()) == pytest.approx(float(moved), rel=1e-6)


def test_a_torus_has_one_hole() -> None:
    grid = _cube(24)
    x, y, z = grid.vertices.unbind(1)
    mesh = marching_tets(grid.vertices, (((x * x + z * z).sqrt() - 0.6) ** 2 + y * y).sqrt() - 0.25, grid)
    assert _is_closed(mesh)
    assert _euler(mesh) == 0


def test_noise_and_exact_zeros_still_give_a_closed_surface() -> None:
    grid = _cube(8)
    sdf = torch.randint(-1, 2, (len(grid.vertices),), generator=torch.Generator().manual_seed(3)).double()
    sdf[on_boundary(grid.vertices, grid)] = 0.0
    mesh = marching_tets(grid.vertices, sdf, grid)
    assert _is_closed(mesh)
    assert bool(mesh.vertices.isfinite().all())


def test_gradients_match_finite_differences() -> None:
    grid = _cube(2)
    draws = torch.Generator().manual_seed(0)
    sdf = torch.randn(len(grid.vertices), generator=draws, dtype=torch.float64)
    sdf = (sdf + 0.2 * sdf.sign()).requires_grad_()
    vertices = (grid.vertices + 0.05 * torch.randn(grid.vertices.shape, generator=draws, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, s: marching_tets(v, s, grid).vertices, (vertices, sdf))


def test_sign_loss_is_the_cross_entropy_of_edges_that_change_sign() -> None:
    sdf = torch.tensor([-0.5, 0.3, 0.0, 2.0, -1.0], dtype=torch.float64, requires_grad=True)
    edges = torch.tensor([[0, 1], [0, 2], [1, 3], [0, 4]])
    softplus = [[math.log1p(math.exp(s)) for s in (0.5, 0.5)], [math.log1p(math.exp(s)) for s in (0.3, 0.0)]]
    expected = sum(softplus[0]) / 2 + sum(softplus[1]) / 2
    assert sdf_sign_loss(sdf, edges).item() == pytest.approx(expected, rel=1e-12)


def test_sign_loss_without_a_change_is_zero_with_a_gradient() -> None:
    sdf = torch.ones(3, requires_grad=True)
    loss = sdf_sign_loss(sdf, torch.tensor([[0, 1], [1, 2]]))
    loss.backward()
    assert loss.item() == 0
    assert sdf.grad is not None
    assert float(sdf.grad.abs().sum()) == 0


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
    ("peaks", "opacity", "told"),
    [
        ([0.0, 0.25], [0.0, 0.1], r"\[0, 0.25\].*opaque pixels.*fine.threshold=VALUE"),
        ([0.0, 1e-5], [0.9, 0.9], r"\[0, 1e-05\].*coarse.steps"),
        ([0.0, float("nan")], [0.0, 1.0], "nan.*finite"),
    ],
)
def test_threshold_of_an_empty_field_names_the_range(peaks: list[float], opacity: list[float], told: str) -> None:
    with pytest.raises(RunFailed, match=told):
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
    with pytest.raises(RunFailed, match=r"\[0.125, 0.125\].*threshold 9.*coarse.steps"):
        occupied_box(lambda points: torch.full((len(points),), 0.125), 9.0, 8, 0.0)
    with pytest.raises(BadInput, match=r"fine\.threshold: 0"):
        occupied_box(lambda points: torch.ones(len(points)), 0.0, 8, 0.0)


@pytest.mark.parametrize(("edge", "off"), [(1e-4, 0.12), (0.01, 0.02), (0.1, 0.02)])
def test_a_ball_of_density_becomes_a_smooth_sphere(edge: float, off: float) -> None:
    """However hard its edge (a cell is 0.045): a staircase would leave vertices a third of a cell off and tilt faces by tens of degrees."""
    center, radius, level = (0.013, 0.027, -0.031), 0.6, 10.0
    density = _balls(_ball(center, radius, edge))
    box = occupied_box(density, level, 32, 0.02)
    grid = tet_grid(box.low, box.high, 32)
    sdf = sdf_from_density(density, level, box, grid)
    mesh = marching_tets(grid.vertices, sdf, grid)
    exact = radius - edge * math.log(level / (50 - level))
    middle = torch.tensor(center)
    assert _is_closed(mesh)
    assert _euler(mesh) == 2
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
    grid = tet_grid(torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([0.9, 1.0, 1.0]), 32)
    sdf = sdf_from_density(density, 25.0, box, grid)
    mesh = marching_tets(grid.vertices, sdf, grid)
    assert bool((sdf[on_boundary(grid.vertices, grid)] > 0).all())
    assert float(sdf[(grid.vertices - torch.tensor([-0.8, 0.5, 0.0])).norm(dim=1) < 0.1].min()) > 0
    assert float(sdf.abs().max()) <= grid.cell * (1 + 1e-6)
    assert _is_closed(mesh)
    assert soundness(mesh).shells == 1
    assert float(mesh.vertices[:, 0].max()) < float(grid.vertices[:, 0].max())


@pytest.fixture
def surface() -> TetSurface:
    grid = _cube(12, torch.float32)
    return TetSurface(grid, grid.vertices.norm(dim=1) - 0.6)


def test_the_surface_is_that_of_the_whole_grid(surface: TetSurface) -> None:
    """The part near the surface that is looked at gives the very same mesh, also while the distance drifts past its margin."""
    draws = torch.Generator().manual_seed(5)
    fixed = on_boundary(surface.grid.vertices, surface.grid)[:, None]
    for _ in range(6):
        with torch.no_grad():
            surface.sdf += 0.3 * surface.grid.cell * torch.randn(surface.sdf.shape, generator=draws)
            surface.sdf[fixed[:, 0]] = surface.sdf[fixed[:, 0]].abs() + surface.grid.cell
            surface.deform += torch.randn(surface.deform.shape, generator=draws)
        moves = torch.where(fixed, 0.0, REACH * surface.grid.cell * surface.deform.tanh())
        whole = marching_tets(surface.grid.vertices + moves, surface.sdf, surface.grid)
        mesh = surface.mesh()
        assert torch.equal(mesh.faces, whole.faces)
        assert torch.allclose(mesh.vertices, whole.vertices, atol=1e-6)
        near, full = surface.sign_loss(), sdf_sign_loss(surface.sdf / surface.grid.cell, surface.grid.edges)
        assert near.item() == pytest.approx(full.item(), rel=1e-5)


def test_deformation_is_bounded_and_leaves_the_box_alone(surface: TetSurface) -> None:
    rest = surface.mesh()
    with torch.no_grad():
        surface.deform += 1e6
    shift = (surface.mesh().vertices - rest.vertices) / surface.grid.cell
    assert torch.allclose(shift, torch.full_like(shift, REACH), atol=1e-5)
    with torch.no_grad():
        surface.sdf.fill_(-1.0)
    full = surface.mesh().detach()
    assert _is_closed(full)
    assert float(full.vertices.abs().max()) <= 1


def test_gradients_reach_both_parameters(surface: TetSurface) -> None:
    mesh = surface.mesh()
    signed_volume(mesh.vertices, mesh.faces).backward()
    assert surface.sdf.grad is not None
    assert surface.deform.grad is not None
    assert float(surface.sdf.grad.sum()) == pytest.approx(-4 * math.pi * 0.36, rel=0.1)
    assert float(surface.deform.grad.abs().max()) > 0


def test_a_sdf_of_one_sign_gives_an_empty_mesh(surface: TetSurface) -> None:
    with torch.no_grad():
        surface.sdf.fill_(1.0)
    mesh = surface.mesh()
    assert len(mesh.faces) == len(mesh.vertices) == 0
    assert surface.sign_loss().item() == 0


def test_the_surface_comes_back_from_its_state_bit_for_bit() -> None:
    grid = tet_grid(torch.tensor([-0.73, -0.41, -0.2]), torch.tensor([0.7, 0.517, 0.3]), 14)
    surface = TetSurface(grid, grid.vertices.norm(dim=1) - 0.3)
    with torch.no_grad():
        surface.deform += torch.randn(surface.deform.shape, generator=torch.Generator().manual_seed(0))
    again = TetSurface.restore(load(save(surface.state_dict())), "cpu")
    assert again.grid.cell == grid.cell
    assert torch.equal(again.grid.vertices, grid.vertices)
    assert torch.equal(again.mesh().vertices, surface.mesh().vertices)
    assert torch.equal(again.mesh().faces, surface.mesh().faces)


def test_a_sdf_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sdf \[3\], expected"):
        TetSurface(_cube(2), torch.zeros(3))
