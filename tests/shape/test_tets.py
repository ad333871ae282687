"""Marching tetrahedra, the way from density to signed distance, and the surface's parameters."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.grid import Lattice, tet_grid, tet_lattice
from dreamfusion_mesh.shape.soundness import signed_volume, soundness
from dreamfusion_mesh.shape.tets import (
    REACH,
    TetSurface,
    marching_tets,
    sdf_sign_loss,
)


def _cube(size: int, dtype: torch.dtype = torch.float64) -> TetGrid:
    return tet_grid(-torch.ones(3, dtype=dtype), torch.ones(3, dtype=dtype), size)


def _lattice(size: int, dtype: torch.dtype = torch.float64) -> Lattice:
    return tet_lattice(-torch.ones(3, dtype=dtype), torch.ones(3, dtype=dtype), size)


def _every(lattice: Lattice) -> Tensor:
    return torch.arange(lattice.vertex_count, device=lattice.device)


def _ball(lattice: Lattice, radius: float) -> TetSurface:
    return TetSurface(lattice, lattice.positions(_every(lattice)).norm(dim=1) - radius)


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
    lattice = _lattice(8)
    grid = lattice.grid()
    sdf = torch.randint(-1, 2, (len(grid.vertices),), generator=torch.Generator().manual_seed(3)).double()
    sdf[lattice.on_boundary(torch.arange(len(sdf)))] = 0.0
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


@pytest.fixture
def surface() -> TetSurface:
    return _ball(_lattice(12, torch.float32), 0.6)


def test_the_surface_is_that_of_the_whole_grid(surface: TetSurface) -> None:
    """The part near the surface that is looked at gives the very same mesh, also while the distance drifts past its margin."""
    draws, grid = torch.Generator().manual_seed(5), surface.lattice.grid()
    fixed = surface.lattice.on_boundary(_every(surface.lattice))[:, None]
    for _ in range(6):
        with torch.no_grad():
            surface.sdf += 0.3 * grid.cell * torch.randn(surface.sdf.shape, generator=draws)
            surface.sdf[fixed[:, 0]] = surface.sdf[fixed[:, 0]].abs() + grid.cell
            surface.deform += torch.randn(surface.deform.shape, generator=draws)
        moves = torch.where(fixed, 0.0, REACH * grid.cell * surface.deform.tanh())
        whole = marching_tets(grid.vertices + moves, surface.sdf, grid)
        mesh = surface.mesh()
        assert torch.equal(mesh.faces, whole.faces)
        assert torch.equal(mesh.vertices, whole.vertices)
        near, full = surface.sign_loss(), sdf_sign_loss(surface.sdf / grid.cell, grid.edges)
        assert near.item() == pytest.approx(full.item(), rel=1e-6)


def test_deformation_is_bounded_and_leaves_the_box_alone(surface: TetSurface) -> None:
    rest = surface.mesh()
    with torch.no_grad():
        surface.deform += 1e6
    shift = (surface.mesh().vertices - rest.vertices) / surface.lattice.cell
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
    surface = _ball(tet_lattice(torch.tensor([-0.73, -0.41, -0.2]), torch.tensor([0.7, 0.517, 0.3]), 14), 0.3)
    with torch.no_grad():
        surface.deform += torch.randn(surface.deform.shape, generator=torch.Generator().manual_seed(0))
    again = TetSurface.restore(load(save(surface.state_dict())), "cpu")
    assert again.lattice.cell == surface.lattice.cell
    assert torch.equal(again.lattice.positions(_every(again.lattice)), surface.lattice.positions(_every(surface.lattice)))
    assert torch.equal(again.mesh().vertices, surface.mesh().vertices)
    assert torch.equal(again.mesh().faces, surface.mesh().faces)


@pytest.mark.parametrize(
    ("sdf", "told"),
    [
        (torch.zeros(3), r"sdf: torch.float32 \[3\] .*expected torch.float64 \[35\]"),
        (torch.zeros(35), r"sdf: torch.float32"),
        (torch.full((35,), math.inf, dtype=torch.float64), r"sdf: shape \[35\] holds NaN or infinity, first in row 0"),
    ],
)
def test_a_sdf_that_does_not_fit_is_refused(sdf: Tensor, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TetSurface(_lattice(2), sdf)
