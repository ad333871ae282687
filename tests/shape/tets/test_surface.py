"""The surface's parameters: the part that is looked at, refinement, state."""

from __future__ import annotations

import math

import pytest
import torch
from lattices import area, ball, cube_lattice, euler, every, is_closed
from safetensors.torch import load, save
from scipy.spatial import cKDTree
from torch import Tensor

from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.marching import marching_tets, sdf_sign_loss
from dreamfusion_mesh.shape.tets.surface import REACH, TetSurface


@pytest.fixture
def surface() -> TetSurface:
    return ball(cube_lattice(12, torch.float32), 0.6)


def test_the_surface_is_that_of_the_whole_grid(surface: TetSurface) -> None:
    """The part near the surface that is looked at gives the very same mesh, also while the distance drifts past its margin."""
    draws, grid = torch.Generator().manual_seed(5), surface.lattice.grid()
    fixed = surface.lattice.on_boundary(every(surface.lattice))[:, None]
    for _ in range(6):
        with torch.no_grad():
            surface.sdf += 0.3 * grid.cell * torch.randn(surface.sdf.shape, generator=draws)
            surface.sdf[fixed[:, 0]] = surface.sdf[fixed[:, 0]].abs() + grid.cell
            surface.deform += torch.randn(surface.deform.shape, generator=draws)
        moves = torch.where(fixed, 0.0, REACH * grid.cell * surface.deform.tanh())
        whole = marching_tets(grid.vertices + moves, surface.sdf, grid)
        mesh = surface.mesh()
        assert torch.equal(mesh.faces, whole.faces)
        assert torch.allclose(mesh.vertices, whole.vertices, atol=1e-6)
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
    assert is_closed(full)
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
    surface = ball(tet_lattice(torch.tensor([-0.73, -0.41, -0.2]), torch.tensor([0.7, 0.517, 0.3]), 14), 0.3)
    with torch.no_grad():
        surface.deform += torch.randn(surface.deform.shape, generator=torch.Generator().manual_seed(0))
    looked_at = surface.mesh().detach(), surface._lookup().rows
    with torch.no_grad():  # half of the way to the next look-up: a part that were found anew would be another
        surface.sdf += 0.25 * surface.lattice.cell
    again = TetSurface.restore(load(save(surface.state_dict())), "cpu")
    assert again.lattice.cell == surface.lattice.cell
    assert torch.equal(again.lattice.positions(every(again.lattice)), surface.lattice.positions(every(surface.lattice)))
    assert torch.equal(again._lookup().rows, looked_at[1])
    assert torch.equal(again.mesh().vertices, surface.mesh().vertices)
    assert torch.equal(again.mesh().faces, surface.mesh().faces)
    assert torch.equal(again.sign_loss(), surface.sign_loss())
    assert len(again.mesh().vertices) != len(looked_at[0].vertices)


def _curled(size: int, bend: float) -> TetSurface:
    """A torus whose lattice is bent smoothly by up to `bend` of its reach."""
    lattice = cube_lattice(size)
    x, y, z = lattice.positions(every(lattice)).unbind(1)
    surface = TetSurface(lattice, (((x * x + z * z).sqrt() - 0.55) ** 2 + y * y).sqrt() - 0.24)
    with torch.no_grad():
        surface.deform += torch.atanh(bend * torch.stack([(4 * y).sin(), (5 * z).cos(), (3 * x).sin()], dim=1))
    return surface


def test_refinement_keeps_the_surface_to_the_last_bits() -> None:
    """Every vertex of the refined mesh lies on the old one, and its faces cut the old ones: the same area and volume exactly."""
    surface = _curled(16, 0.45)
    finer = surface.refined()
    old, new = surface.mesh(), finer.mesh()
    assert finer.lattice.cell == surface.lattice.cell / 2
    assert is_closed(new)
    assert euler(new) == 0
    assert 3.5 < len(new.faces) / len(old.faces) < 4.5
    for measure in (signed_volume, area):
        assert measure(new.vertices, new.faces).item() == pytest.approx(measure(old.vertices, old.faces).item(), rel=1e-10)
    # Old vertices lie on old edges, each of which is two new ones.
    assert float(_distance(old.vertices, new.vertices).max()) < 1e-12


def test_refinement_twice_is_the_finest_surface_of_the_first() -> None:
    surface = _curled(8, 0.2)
    finest = surface.refined().refined()
    assert finest.lattice.counts == (32, 32, 32)
    old, new = surface.mesh(), finest.mesh()
    assert signed_volume(new.vertices, new.faces).item() == pytest.approx(signed_volume(old.vertices, old.faces).item(), rel=1e-10)


def test_moves_beyond_the_finer_reach_give_way_to_the_distance() -> None:
    """They stop short, and the surface stays within a small part of the way that they lack (up to half a reach, 0.12 cells)."""
    surface = _curled(24, 0.999)
    finer = surface.refined()
    old, new = surface.mesh(), finer.mesh()
    assert float(finer.deform.detach().abs().max()) == pytest.approx(math.atanh(0.96), rel=1e-9)
    assert is_closed(new)
    assert euler(new) == 0
    spread = _distance(new.vertices, _samples(old)) / surface.lattice.cell
    assert float(spread.mean()) < 0.02
    assert float(spread.max()) < 0.06
    assert signed_volume(new.vertices, new.faces).item() == pytest.approx(signed_volume(old.vertices, old.faces).item(), rel=2e-3)


def test_refinement_leaves_what_touches_the_box_closed() -> None:
    surface = ball(cube_lattice(6), 1.2)
    finer = surface.refined()
    old, new = surface.mesh(), finer.mesh()
    assert is_closed(new)
    assert signed_volume(new.vertices, new.faces).item() == pytest.approx(signed_volume(old.vertices, old.faces).item(), rel=1e-10)


def test_a_refined_surface_comes_back_from_its_state() -> None:
    finer = _curled(6, 0.3).refined()
    again = TetSurface.restore(load(save(finer.state_dict())), "cpu")
    assert again.lattice.counts == (12, 12, 12)
    assert torch.equal(again.mesh().vertices, finer.mesh().vertices)


def _distance(points: Tensor, others: Tensor) -> Tensor:
    return torch.from_numpy(cKDTree(others.detach().numpy()).query(points.detach().numpy())[0])


def _samples(mesh: Mesh) -> Tensor:
    """[n, 3] points on the mesh, closer than a twentieth of its longest edge to any other of its points."""
    weights = torch.tensor([[i, j, 12 - i - j] for i in range(13) for j in range(13 - i)], dtype=torch.float64) / 12
    return (weights @ mesh.vertices.detach()[mesh.faces]).reshape(-1, 3)


def test_a_sdf_that_stops_being_finite_is_named(surface: TetSurface) -> None:
    surface.mesh()
    with torch.no_grad():
        surface.sdf[[3, 70]] = math.nan
    with pytest.raises(ValueError, match=r"sdf: shape \[3925\] holds NaN or infinity, first in row 3"):
        surface.mesh()


def test_a_surface_of_nothing_refines_to_nothing(surface: TetSurface) -> None:
    with torch.no_grad():
        surface.sdf.fill_(1.0)
    finer = surface.refined()
    assert torch.equal(finer.sdf, torch.ones(25**3 + 24**3))
    assert len(finer.mesh().faces) == 0


def test_a_surface_that_is_given_another_state_shows_that() -> None:
    small, large = ball(cube_lattice(10), 0.3), ball(cube_lattice(10), 0.7)
    small.mesh()
    small.load_state_dict(large.state_dict())
    assert torch.equal(small.mesh().vertices, large.mesh().vertices)


@pytest.mark.parametrize(
    ("sdf", "message"),
    [
        (torch.zeros(3), r"sdf: torch.float32 \[3\] .*expected torch.float64 \[35\]"),
        (torch.zeros(35), r"sdf: torch.float32"),
        (torch.full((35,), math.inf, dtype=torch.float64), r"sdf: shape \[35\] holds NaN or infinity, first in row 0"),
    ],
)
def test_a_sdf_that_does_not_fit_is_refused(sdf: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TetSurface(cube_lattice(2), sdf)
