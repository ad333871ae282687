"""The rough surface of a density: closed, outward, in its place, and none where the density is thin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.start.rough import LEVEL, LOWEST_LEVEL, rough_surface

LOW, HIGH = torch.full((3,), -1.0), torch.full((3,), 1.0)
CENTRE = torch.tensor([1 / 12, -1 / 6, 0.0])  # a corner of 24 cells, so that the peak is seen


def assert_closed(mesh: Mesh) -> None:
    found = soundness(mesh)
    assert (found.shells, found.open_edges, found.nonmanifold_edges, found.inconsistent_edges, found.inverted_shells) == (1, 0, 0, 0, 0)


def ball(peak: float, slope: float):
    """Density peak exp(-slope r): LEVEL lies at r = log(peak / LEVEL) / slope."""

    def density(points: Tensor) -> Tensor:
        return peak * torch.exp(-slope * (points - CENTRE).norm(dim=1))

    return density


@pytest.mark.parametrize(("peak", "slope", "radius"), [(1e4, 15.0, math.log(1e4 / LEVEL) / 15), (4.0, 1.5, math.log(2) / 1.5)])
def test_the_surface_of_a_ball_is_a_sphere_of_its_radius(peak: float, slope: float, radius: float) -> None:
    mesh = rough_surface(ball(peak, slope), LOW, HIGH, 24)
    found = (mesh.vertices - CENTRE).norm(dim=1)
    assert float((found - radius).abs().max()) < 0.01
    assert_closed(mesh)


def test_what_reaches_out_of_the_box_is_closed_at_its_sides() -> None:
    mesh = rough_surface(ball(1e4, 15.0), LOW, torch.zeros(3), 16)
    assert float(mesh.vertices.max()) <= 1e-6
    assert_closed(mesh)


def test_a_thin_density_has_no_surface() -> None:
    mesh = rough_surface(lambda points: torch.full((len(points),), 0.9 * LOWEST_LEVEL), LOW, HIGH, 8)
    assert mesh.faces.shape == (0, 3)
