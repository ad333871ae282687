"""Tidying keeps the shape and leaves a sound solid."""

from __future__ import annotations

import math

import pytest
import torch
from outcomes import poor_outcome
from rough_shapes import ball_sdf, surface_of, torus_sdf, two_balls_sdf, volume
from torch import Tensor

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.geometry.areas import area_vectors
from dreamfusion_mesh.geometry.normals import unit_vectors
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import face_adjacency, weld
from dreamfusion_mesh.records import Mesh, TetGrid
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tidy import tidy

_ROUGH = MeshSettings(smooth=0)


def test_floaters_cavities_and_what_they_hold_are_dropped(grid: TetGrid) -> None:
    """A ball with a hollow, a ball in the hollow and a floater outside: the ball alone stays, solid."""

    def shape(points: Tensor) -> Tensor:
        hollow = torch.maximum(ball_sdf(points, 0.1, 0.7), -ball_sdf(points, 0.1, 0.5))
        return torch.stack([hollow, ball_sdf(points, 0.1, 0.3), ball_sdf(points, -0.85, 0.1)]).amin(dim=0)

    raw = surface_of(grid, shape)
    assert soundness(raw).shells == 4
    mesh = tidy(raw, _ROUGH).mesh
    assert soundness(weld(mesh)).sound
    assert soundness(mesh).shells == 1
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=5e-3)


def test_parts_with_their_share_of_the_faces_stay(grid: TetGrid) -> None:
    raw = surface_of(grid, two_balls_sdf)
    share = soundness(raw).smallest_shell
    assert 0.3 < share < 0.4
    assert soundness(tidy(raw, MeshSettings(smallest_part=0.3)).mesh).shells == 2
    assert soundness(tidy(raw, MeshSettings(smallest_part=0.45)).mesh).shells == 1


def _roughness(mesh: Mesh) -> float:
    """Mean of 1 - cos(angle) between neighbouring faces, each pair by its smaller area."""
    areas = area_vectors(mesh.vertices, mesh.faces)
    normals, sizes = unit_vectors(areas), areas.norm(dim=1)
    first, second = face_adjacency(mesh.faces).unbind(1)
    weight = torch.minimum(sizes[first], sizes[second])
    return float((weight * (1 - (normals[first] * normals[second]).sum(dim=1))).sum() / weight.sum())


def test_smoothing_keeps_the_volume_and_takes_the_noise(grid: TetGrid) -> None:
    raw = surface_of(grid, torus_sdf, noise=0.01)
    smooth = tidy(raw, MeshSettings(smooth=10)).mesh
    assert volume(smooth) == pytest.approx(volume(tidy(raw, _ROUGH).mesh), rel=0.01)
    assert volume(smooth) == pytest.approx(2 * math.pi**2 * 0.6 * 0.22**2, rel=0.01)
    before, after = (_roughness(mesh) for mesh in (raw, smooth))
    assert after < before / 3


def test_slivers_are_gone(grid: TetGrid) -> None:
    """Distances rounded to steps put exact zeros and many coincident vertices on the surface."""
    raw = surface_of(grid, lambda points: (ball_sdf(points, 0.0, 0.7) * 16).round() / 16)
    assert soundness(raw).degenerate_faces > 1000
    mesh = tidy(raw, _ROUGH).mesh
    assert soundness(weld(mesh)).sound
    assert volume(mesh) == pytest.approx(volume(raw), rel=2e-3)


def test_a_surface_cut_along_every_edge_is_sewn() -> None:
    grid = tet_lattice(-torch.ones(3), torch.ones(3), 10).grid()
    whole = surface_of(grid, lambda points: ball_sdf(points, 0.0, 0.7))
    soup = Mesh(whole.vertices[whole.faces].reshape(-1, 3), torch.arange(3 * len(whole.faces)).reshape(-1, 3))
    mesh = tidy(soup, _ROUGH).mesh
    assert soundness(weld(mesh)).sound
    assert volume(mesh) == pytest.approx(volume(whole), rel=1e-3)


def test_what_cannot_be_made_a_solid_is_refused_with_its_faults() -> None:
    grid = tet_lattice(-torch.ones(3), torch.ones(3), 6).grid()
    whole = surface_of(grid, lambda points: ball_sdf(points, 0.0, 0.6))
    with poor_outcome("empty", "no faces"):
        tidy(Mesh(whole.vertices, whole.faces[:0]), _ROUGH)
    with poor_outcome("empty", "inside out"):
        tidy(Mesh(whole.vertices, whole.faces.flip(1)), _ROUGH)
    with poor_outcome("diverged", "not finite"):
        tidy(Mesh(whole.vertices * float("nan"), whole.faces), _ROUGH)


def test_tidy_gives_detached_vertices_on_the_cpu_in_the_same_precision(grid: TetGrid) -> None:
    raw = surface_of(grid, two_balls_sdf)
    mesh = tidy(Mesh(raw.vertices.requires_grad_(), raw.faces), _ROUGH).mesh
    assert not mesh.vertices.requires_grad
    assert mesh.vertices.dtype == torch.float32
