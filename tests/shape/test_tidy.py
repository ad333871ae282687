"""Tidying and decimating keep the shape and leave a sound solid."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.spatial import KDTree
from torch import Tensor

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.regularisers import normal_consistency_loss
from dreamfusion_mesh.shape.tets.grid import tet_grid
from dreamfusion_mesh.shape.tets.marching import marching_tets
from dreamfusion_mesh.shape.simplify import decimate
from dreamfusion_mesh.shape.tidy import tidy

_ROUGH = MeshSettings(smooth=0)


def _ball(points: Tensor, x: float, radius: float) -> Tensor:
    return (points - torch.tensor([x, 0.0, 0.0])).norm(dim=1) - radius


def _torus(points: Tensor) -> Tensor:
    x, y, z = points.unbind(1)
    return (((x * x + z * z).sqrt() - 0.6) ** 2 + y * y).sqrt() - 0.22


def _two_balls(points: Tensor) -> Tensor:
    return torch.minimum(_ball(points, 0.5, 0.4), _ball(points, -0.5, 0.3))


def _table(points: Tensor) -> Tensor:
    """Four legs two and a half cells thick at 40 cells."""
    x, y, z = points.abs().unbind(1)
    top = torch.stack([x - 0.8, z - 0.8, (points[:, 1] - 0.5).abs() - 0.08]).amax(dim=0)
    leg = torch.stack([(x - 0.6).abs() - 0.06, (z - 0.6).abs() - 0.06, y - 0.5]).amax(dim=0)
    return torch.minimum(top, leg)


@pytest.fixture(scope="module")
def grid() -> TetGrid:
    return tet_grid(-torch.ones(3), torch.ones(3), 40)


def _surface(grid: TetGrid, shape: Callable[[Tensor], Tensor], noise: float = 0.0, seed: int = 0) -> Mesh:
    draws = torch.Generator().manual_seed(seed)
    return marching_tets(grid.vertices, shape(grid.vertices) + noise * torch.randn(len(grid.vertices), generator=draws), grid)


def _volume(mesh: Mesh) -> float:
    return float(signed_volume(mesh.vertices.double(), mesh.faces))


def _samples(mesh: Mesh, count: int) -> Tensor:
    """Points spread evenly over the surface."""
    draws = torch.Generator().manual_seed(0)
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    face = torch.multinomial(torch.linalg.cross(b - a, c - a).norm(dim=1), count, replacement=True, generator=draws)
    u, v = torch.rand(2, count, 1, generator=draws)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    return a[face] + u * (b - a)[face] + v * (c - a)[face]


def _farthest(points: Tensor, mesh: Mesh) -> float:
    """Largest distance from `points` to `mesh`, never told too small: to 400,000 points on it."""
    return float(KDTree(_samples(mesh, 400_000).numpy()).query(points.numpy())[0].max())


def test_floaters_cavities_and_what_they_hold_are_dropped(grid: TetGrid) -> None:
    """A ball with a hollow, a pearl in the hollow and a crumb outside: the ball alone stays, solid."""

    def shape(points: Tensor) -> Tensor:
        hollow = torch.maximum(_ball(points, 0.1, 0.7), -_ball(points, 0.1, 0.5))
        return torch.stack([hollow, _ball(points, 0.1, 0.3), _ball(points, -0.85, 0.1)]).amin(dim=0)

    raw = _surface(grid, shape)
    assert soundness(raw).shells == 4
    mesh = tidy(raw, _ROUGH)
    assert soundness(weld(mesh)).sound
    assert soundness(mesh).shells == 1
    assert _volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=5e-3)


def test_parts_with_their_share_of_the_faces_stay(grid: TetGrid) -> None:
    raw = _surface(grid, _two_balls)
    share = soundness(raw).smallest_shell
    assert 0.3 < share < 0.4
    assert soundness(tidy(raw, MeshSettings(smallest_part=0.3))).shells == 2
    assert soundness(tidy(raw, MeshSettings(smallest_part=0.45))).shells == 1


def test_smoothing_keeps_the_volume_and_takes_the_noise(grid: TetGrid) -> None:
    raw = _surface(grid, _torus, noise=0.01)
    smooth = tidy(raw, MeshSettings(smooth=10))
    assert _volume(smooth) == pytest.approx(_volume(tidy(raw, _ROUGH)), rel=0.01)
    assert _volume(smooth) == pytest.approx(2 * math.pi**2 * 0.6 * 0.22**2, rel=0.01)
    before, after = (float(normal_consistency_loss(mesh.vertices, mesh.faces)) for mesh in (raw, smooth))
    assert after < before / 3


def test_slivers_are_gone(grid: TetGrid) -> None:
    """Distances rounded to steps put exact zeros and many coincident vertices on the surface."""
    raw = _surface(grid, lambda points: (_ball(points, 0.0, 0.7) * 16).round() / 16)
    assert soundness(raw).degenerate_faces > 1000
    mesh = tidy(raw, _ROUGH)
    assert soundness(weld(mesh)).sound
    assert _volume(mesh) == pytest.approx(_volume(raw), rel=2e-3)


def test_a_surface_cut_along_every_edge_is_sewn() -> None:
    grid = tet_grid(-torch.ones(3), torch.ones(3), 10)
    whole = _surface(grid, lambda points: _ball(points, 0.0, 0.7))
    soup = Mesh(whole.vertices[whole.faces].reshape(-1, 3), torch.arange(3 * len(whole.faces)).reshape(-1, 3))
    mesh = tidy(soup, _ROUGH)
    assert soundness(weld(mesh)).sound
    assert _volume(mesh) == pytest.approx(_volume(whole), rel=1e-3)


def test_what_cannot_be_made_a_solid_is_refused_with_its_faults() -> None:
    grid = tet_grid(-torch.ones(3), torch.ones(3), 6)
    whole = _surface(grid, lambda points: _ball(points, 0.0, 0.6))
    with pytest.raises(RunFailed, match="no faces"):
        tidy(Mesh(whole.vertices, whole.faces[:0]), _ROUGH)
    with pytest.raises(RunFailed, match="3 open"):
        tidy(Mesh(whole.vertices, whole.faces[1:]), _ROUGH)
    with pytest.raises(RunFailed, match="inside out"):
        tidy(Mesh(whole.vertices, whole.faces.flip(1)), _ROUGH)
    with pytest.raises(RunFailed, match="not finite"):
        tidy(Mesh(whole.vertices * float("nan"), whole.faces), _ROUGH)


def test_tidy_gives_detached_vertices_on_the_cpu_in_the_same_precision(grid: TetGrid) -> None:
    raw = _surface(grid, _two_balls)
    mesh = tidy(Mesh(raw.vertices.requires_grad_(), raw.faces), _ROUGH)
    assert not mesh.vertices.requires_grad
    assert mesh.vertices.dtype == torch.float32


@pytest.mark.parametrize(("shape", "shells"), [(_torus, 1), (_two_balls, 2), (_table, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_decimated_noisy_shapes_are_sound_at_every_budget(grid: TetGrid, shape: Callable[[Tensor], Tensor], shells: int, seed: int) -> None:
    mesh = tidy(_surface(grid, shape, noise=0.012, seed=seed), _ROUGH)
    for budget in (5000, 400):
        reduced = decimate(mesh, budget)
        found = soundness(weld(reduced))
        assert found.sound, str(found)
        assert found.shells == shells
        assert 0.7 * budget <= len(reduced.faces) <= budget
        assert _volume(reduced) == pytest.approx(_volume(mesh), rel={5000: 0.01, 400: 0.12}[budget])


@pytest.mark.parametrize("shape", [_torus, _table])
def test_decimation_stays_within_half_a_percent_of_the_diagonal(grid: TetGrid, shape: Callable[[Tensor], Tensor]) -> None:
    mesh = tidy(_surface(grid, shape), MeshSettings())
    reduced = decimate(mesh, 10_000)
    diagonal = float((mesh.vertices.amax(dim=0) - mesh.vertices.amin(dim=0)).norm())
    assert _farthest(_samples(mesh, 5000), reduced) < 0.005 * diagonal
    assert _farthest(_samples(reduced, 5000), mesh) < 0.005 * diagonal


def test_a_mesh_within_its_budget_is_left_alone(grid: TetGrid) -> None:
    mesh = decimate(tidy(_surface(grid, _torus), MeshSettings()), 2000)
    again = decimate(mesh, 2000)
    assert torch.equal(again.vertices, mesh.vertices)
    assert torch.equal(again.faces, mesh.faces)


def test_an_impossible_budget_is_refused_with_numbers(grid: TetGrid) -> None:
    mesh = tidy(_surface(grid, _torus), MeshSettings())
    with pytest.raises(RunFailed, match=f"{len(mesh.faces)} triangles to at most 3"):
        decimate(mesh, 3)


def test_the_same_surface_gives_the_same_bits(grid: TetGrid) -> None:
    raw = _surface(grid, _torus, noise=0.012)
    first, second = (decimate(tidy(raw, MeshSettings()), 3000) for _ in range(2))
    assert torch.equal(first.vertices, second.vertices)
    assert torch.equal(first.faces, second.faces)
