"""Marching tetrahedra: one worked by hand, spheres, and the direct formulation; the sign's regulariser."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from lattices import area, ball, cube, cube_lattice, euler, every, is_closed
from same_surface import match, match_vertices
from torch import Tensor

from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.records import TetGrid
from dreamfusion_mesh.shape.tets.marching import marching_tets, sdf_sign_loss
from dreamfusion_mesh.shape.tets.surface import REACH
from tools.bench.direct_tets import direct_marching_tets


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
        grid = cube(size)
        sdf = (grid.vertices.norm(dim=1) - radius).requires_grad_()
        mesh = marching_tets(grid.vertices, sdf, grid)
        volume = signed_volume(mesh.vertices, mesh.faces)
        (slope,) = torch.autograd.grad(volume, sdf)
        assert is_closed(mesh)
        assert euler(mesh) == 2
        errors.append(volume.item() / (4 / 3 * math.pi * radius**3) - 1)
        assert float(slope.sum()) == pytest.approx(-4 * math.pi * radius**2, rel=0.08 / (size / 16) ** 2)
    assert -0.01 < errors[0] < 0
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.15)


def test_shifting_the_sdf_moves_the_volume_by_its_gradient() -> None:
    grid = cube(16)
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
    grid = cube(24)
    x, y, z = grid.vertices.unbind(1)
    mesh = marching_tets(grid.vertices, (((x * x + z * z).sqrt() - 0.6) ** 2 + y * y).sqrt() - 0.25, grid)
    assert is_closed(mesh)
    assert euler(mesh) == 0


def test_noise_and_exact_zeros_still_give_a_closed_surface() -> None:
    lattice = cube_lattice(8)
    grid = lattice.grid()
    sdf = torch.randint(-1, 2, (len(grid.vertices),), generator=torch.Generator().manual_seed(3)).double()
    sdf[lattice.on_boundary(torch.arange(len(sdf)))] = 0.0
    mesh = marching_tets(grid.vertices, sdf, grid)
    assert is_closed(mesh)
    assert bool(mesh.vertices.isfinite().all())


def test_gradients_match_finite_differences() -> None:
    grid = cube(2)
    draws = torch.Generator().manual_seed(0)
    sdf = torch.randn(len(grid.vertices), generator=draws, dtype=torch.float64)
    sdf = (sdf + 0.2 * sdf.sign()).requires_grad_()
    vertices = (grid.vertices + 0.05 * torch.randn(grid.vertices.shape, generator=draws, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, s: marching_tets(v, s, grid).vertices, (vertices, sdf))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_surface_is_that_of_the_direct_formulation(noise: float) -> None:
    """The same vertices, faces and gradients as from all tetrahedra and `unique`, on a ball and on a sponge."""
    lattice, draws = cube_lattice(10), torch.Generator().manual_seed(2)
    surface, grid = ball(lattice, 0.63), lattice.grid()
    with torch.no_grad():
        surface.sdf += noise * torch.randn(surface.sdf.shape, generator=draws, dtype=torch.float64)
        surface.sdf[lattice.on_boundary(every(lattice))] = 1.0
        surface.deform += torch.randn(surface.deform.shape, generator=draws, dtype=torch.float64)
    free = ~lattice.on_boundary(every(lattice))[:, None]
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
    lattice = cube_lattice(10, torch.float32)
    surface, grid = ball(lattice, 0.63), lattice.grid()
    mesh = surface.mesh()
    vertices, faces = conversions.marching_tetrahedra(grid.vertices[None], grid.tets, surface.sdf.detach()[None])
    match_vertices(mesh.vertices, vertices[0], 1e-6)
    # A tetrahedron's four-sided piece is flat, so either of its diagonals gives the same surface; which way round is their choice.
    assert len(faces[0]) == len(mesh.faces)
    for measure in (signed_volume, area):
        ours, theirs = measure(mesh.vertices.double(), mesh.faces).item(), measure(vertices[0].double(), faces[0]).item()
        assert abs(theirs) == pytest.approx(ours, rel=1e-6)


def test_sign_loss_is_the_cross_entropy_of_edges_that_change_sign() -> None:
    sdf = torch.tensor([-0.5, 0.3, 0.0, 2.0, -1.0], dtype=torch.float64, requires_grad=True)
    edges = torch.tensor([[0, 1], [0, 2], [1, 3], [0, 4]])
    softplus = [[math.log1p(math.exp(s)) for s in (0.5, 0.5)], [math.log1p(math.exp(s)) for s in (0.3, 0.0)]]
    expected = sum(softplus[0]) / 2 + sum(softplus[1]) / 2
    assert sdf_sign_loss(sdf, edges).item() == pytest.approx(expected, rel=1e-12)


def test_gradients_of_the_sign_loss_match_finite_differences() -> None:
    grid = cube(2)
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


def test_values_that_do_not_fit_the_grid_are_named() -> None:
    grid = cube(2)
    fine = torch.ones(len(grid.vertices), dtype=torch.float64)
    holed = fine.clone()
    holed[4] = math.nan
    moved = grid.vertices.clone()
    moved[7, 1] = math.inf
    for vertices, sdf, message in (
        (grid.vertices[1:], fine, r"vertices: torch.float64 \[34, 3\] on cpu, expected torch.float64 \[35, 3\]"),
        (grid.vertices, fine[:, None], r"sdf: torch.float64 \[35, 1\]"),
        (grid.vertices, fine.float(), r"sdf: torch.float32 \[35\]"),
        (grid.vertices, holed, r"sdf: shape \[35\] holds NaN or infinity, first in row 4"),
        (moved, fine, r"vertices: shape \[35, 3\] holds NaN or infinity, first in row 7"),
    ):
        with pytest.raises(ValueError, match=message):
            marching_tets(vertices, sdf, grid)
    for sdf, edges, message in (
        (holed, grid.edges, r"sdf: shape \[35\] holds NaN"),
        (fine, grid.edges.int(), r"edges: torch.int32"),
        (fine, grid.edges[:, :1], r"edges: torch.int64 \[\d+, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            sdf_sign_loss(sdf, edges)
