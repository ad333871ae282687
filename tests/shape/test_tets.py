"""Marching tetrahedra, the way from density to signed distance, and the surface's parameters."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from direct_tets import direct_marching_tets, match, match_vertices
from safetensors.torch import load, save
from scipy.spatial import cKDTree
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


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_surface_is_that_of_the_direct_formulation(noise: float) -> None:
    """The same vertices, faces and gradients as from all tetrahedra and `unique`, on a ball and on a sponge."""
    lattice, draws = _lattice(10), torch.Generator().manual_seed(2)
    surface, grid = _ball(lattice, 0.63), lattice.grid()
    with torch.no_grad():
        surface.sdf += noise * torch.randn(surface.sdf.shape, generator=draws, dtype=torch.float64)
        surface.sdf[lattice.on_boundary(_every(lattice))] = 1.0
        surface.deform += torch.randn(surface.deform.shape, generator=draws, dtype=torch.float64)
    free = ~lattice.on_boundary(_every(lattice))[:, None]
    mesh = surface.mesh()
    sdf, deform = (value.detach().clone().requires_grad_() for value in (surface.sdf, surface.deform))
    vertices, faces = direct_marching_tets(grid.vertices + REACH * lattice.cell * deform.tanh() * free, sdf, grid.tets)
    order = match((mesh.vertices, mesh.faces), (vertices, faces), 1e-12)
    assert len(faces) > 500
    weights = torch.randn(vertices.shape, generator=draws, dtype=torch.float64)
    ours = torch.autograd.grad((mesh.vertices * weights[order]).sum(), (surface.sdf, surface.deform))
    theirs = torch.autograd.grad((vertices * weights).sum(), (sdf, deform))
    for mine, truth in zip(ours, theirs, strict=True):
        assert float(truth.abs().max()) > 0.01
        assert torch.allclose(mine, truth, rtol=1e-9, atol=1e-9 * float(truth.abs().max()))


def test_the_surface_is_kaolins() -> None:
    conversions = pytest.importorskip("kaolin.ops.conversions", reason="kaolin is not installed: it is not on the Python index")
    lattice = _lattice(10, torch.float32)
    surface, grid = _ball(lattice, 0.63), lattice.grid()
    mesh = surface.mesh()
    vertices, faces = conversions.marching_tetrahedra(grid.vertices[None], grid.tets, surface.sdf.detach()[None])
    match_vertices(mesh.vertices, vertices[0], 1e-6)
    # A tetrahedron's four-sided piece is flat, so either of its diagonals gives the same surface; which way round is their choice.
    assert len(faces[0]) == len(mesh.faces)
    for measure in (signed_volume, _area):
        ours, theirs = measure(mesh.vertices.double(), mesh.faces).item(), measure(vertices[0].double(), faces[0]).item()
        assert abs(theirs) == pytest.approx(ours, rel=1e-6)


def test_sign_loss_is_the_cross_entropy_of_edges_that_change_sign() -> None:
    sdf = torch.tensor([-0.5, 0.3, 0.0, 2.0, -1.0], dtype=torch.float64, requires_grad=True)
    edges = torch.tensor([[0, 1], [0, 2], [1, 3], [0, 4]])
    softplus = [[math.log1p(math.exp(s)) for s in (0.5, 0.5)], [math.log1p(math.exp(s)) for s in (0.3, 0.0)]]
    expected = sum(softplus[0]) / 2 + sum(softplus[1]) / 2
    assert sdf_sign_loss(sdf, edges).item() == pytest.approx(expected, rel=1e-12)


def test_gradients_of_the_sign_loss_match_finite_differences() -> None:
    grid = _cube(2)
    sdf = torch.randn(len(grid.vertices), generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    sdf = (sdf + 0.1 * sdf.sign()).requires_grad_()
    assert int(((sdf[grid.edges] < 0).sum(dim=1) == 1).sum()) > 20
    assert torch.autograd.gradcheck(lambda s: sdf_sign_loss(s, grid.edges), (sdf,))


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
    looked_at = surface.mesh().detach(), surface._lookup().rows
    with torch.no_grad():  # half of the way to the next look-up: a part that were found anew would be another
        surface.sdf += 0.25 * surface.lattice.cell
    again = TetSurface.restore(load(save(surface.state_dict())), "cpu")
    assert again.lattice.cell == surface.lattice.cell
    assert torch.equal(again.lattice.positions(_every(again.lattice)), surface.lattice.positions(_every(surface.lattice)))
    assert torch.equal(again._lookup().rows, looked_at[1])
    assert torch.equal(again.mesh().vertices, surface.mesh().vertices)
    assert torch.equal(again.mesh().faces, surface.mesh().faces)
    assert torch.equal(again.sign_loss(), surface.sign_loss())
    assert len(again.mesh().vertices) != len(looked_at[0].vertices)


def _curled(size: int, bend: float) -> TetSurface:
    """A torus whose lattice is bent smoothly by up to `bend` of its reach."""
    lattice = _lattice(size)
    x, y, z = lattice.positions(_every(lattice)).unbind(1)
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
    assert _is_closed(new)
    assert _euler(new) == 0
    assert 3.5 < len(new.faces) / len(old.faces) < 4.5
    for measure in (signed_volume, _area):
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
    assert float(finer.deform.abs().max()) == pytest.approx(math.atanh(0.96), rel=1e-9)
    assert _is_closed(new)
    assert _euler(new) == 0
    spread = _distance(new.vertices, _samples(old)) / surface.lattice.cell
    assert float(spread.mean()) < 0.02
    assert float(spread.max()) < 0.06
    assert signed_volume(new.vertices, new.faces).item() == pytest.approx(signed_volume(old.vertices, old.faces).item(), rel=2e-3)


def test_refinement_leaves_what_touches_the_box_closed() -> None:
    surface = _ball(_lattice(6), 1.2)
    finer = surface.refined()
    old, new = surface.mesh(), finer.mesh()
    assert _is_closed(new)
    assert signed_volume(new.vertices, new.faces).item() == pytest.approx(signed_volume(old.vertices, old.faces).item(), rel=1e-10)


def test_a_refined_surface_comes_back_from_its_state() -> None:
    finer = _curled(6, 0.3).refined()
    again = TetSurface.restore(load(save(finer.state_dict())), "cpu")
    assert again.lattice.counts == (12, 12, 12)
    assert torch.equal(again.mesh().vertices, finer.mesh().vertices)


def _area(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = vertices[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2


def _distance(points: Tensor, others: Tensor) -> Tensor:
    return torch.from_numpy(cKDTree(others.detach().numpy()).query(points.detach().numpy())[0])


def _samples(mesh: Mesh) -> Tensor:
    """[n, 3] points on the mesh, closer than a twentieth of its longest edge to any other of its points."""
    weights = torch.tensor([[i, j, 12 - i - j] for i in range(13) for j in range(13 - i)], dtype=torch.float64) / 12
    return (weights @ mesh.vertices.detach()[mesh.faces]).reshape(-1, 3)


def test_values_that_do_not_fit_the_grid_are_named() -> None:
    grid = _cube(2)
    fine = torch.ones(len(grid.vertices), dtype=torch.float64)
    holed = fine.clone()
    holed[4] = math.nan
    moved = grid.vertices.clone()
    moved[7, 1] = math.inf
    for vertices, sdf, told in (
        (grid.vertices[1:], fine, r"vertices: torch.float64 \[34, 3\] on cpu, expected torch.float64 \[35, 3\]"),
        (grid.vertices, fine[:, None], r"sdf: torch.float64 \[35, 1\]"),
        (grid.vertices, fine.float(), r"sdf: torch.float32 \[35\]"),
        (grid.vertices, holed, r"sdf: shape \[35\] holds NaN or infinity, first in row 4"),
        (moved, fine, r"vertices: shape \[35, 3\] holds NaN or infinity, first in row 7"),
    ):
        with pytest.raises(ValueError, match=told):
            marching_tets(vertices, sdf, grid)
    for sdf, edges, told in (
        (holed, grid.edges, r"sdf: shape \[35\] holds NaN"),
        (fine, grid.edges.int(), r"edges: torch.int32"),
        (fine, grid.edges[:, :1], r"edges: torch.int64 \[\d+, 1\]"),
    ):
        with pytest.raises(ValueError, match=told):
            sdf_sign_loss(sdf, edges)


def test_a_surface_that_is_given_another_state_shows_that() -> None:
    small, large = _ball(_lattice(10), 0.3), _ball(_lattice(10), 0.7)
    small.mesh()
    small.load_state_dict(large.state_dict())
    assert torch.equal(small.mesh().vertices, large.mesh().vertices)


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
