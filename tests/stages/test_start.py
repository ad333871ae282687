"""The fine stage's start from a density: a threshold from silhouettes, and cells of the first step's size."""

from __future__ import annotations

import math

import pytest
import torch
from outcomes import poor_outcome
from torch import Tensor

from dreamfusion_mesh.config import FineSettings, ViewSettings
from dreamfusion_mesh.records import FieldSample
from dreamfusion_mesh.render.volume import OccupancyGrid
from dreamfusion_mesh.stages.coarse import Coarse
from dreamfusion_mesh.stages.start import halving_steps, silhouette_threshold, start_from_field

VIEWS = ViewSettings()


class BallField:
    """Density 40 exp(-(r / 0.4)^4): a ball with a soft edge."""

    def __init__(self, peak: float = 40.0) -> None:
        self.peak = peak

    def density(self, points: Tensor) -> Tensor:
        return self.peak * torch.exp(-((points.norm(dim=1) / 0.4) ** 4))

    def __call__(self, points: Tensor, normals: bool) -> FieldSample:
        return FieldSample(self.density(points), torch.full_like(points, 0.5), None)


def start(field: BallField, settings: FineSettings) -> object:
    return start_from_field(Coarse(field, OccupancyGrid(8)), 64, settings, VIEWS, 0.02, torch.Generator().manual_seed(0))


def silhouette_radius() -> float:
    """Distance from the axis at which a ray's opacity is one half, by the closed field's own integral."""
    z = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    radii = torch.linspace(0.1, 0.7, 601, dtype=torch.float64)
    depth = (40 * torch.exp(-(((radii[:, None] ** 2 + z**2).sqrt() / 0.4) ** 4))).sum(dim=1) * 0.0005
    return float(radii[(depth > math.log(2)).nonzero().max()])


def test_the_threshold_is_the_density_on_the_silhouette() -> None:
    """A ray that is half opaque has its peak where it is nearest to the axis; the density there is the threshold."""
    field, radius = BallField(), silhouette_radius()
    level = silhouette_threshold(field, OccupancyGrid(8), 96, VIEWS, torch.Generator().manual_seed(0))
    reached = 0.4 * math.log(40 / level) ** 0.25
    assert reached == pytest.approx(radius, abs=0.02)


def test_the_start_is_the_surface_at_the_threshold() -> None:
    radius = silhouette_radius()
    surface = start(BallField(), FineSettings(tet_size=32))
    assert surface.mesh().vertices.detach().norm(dim=1).mean().item() == pytest.approx(radius, abs=0.02)
    named = start(BallField(), FineSettings(tet_size=32, threshold=20.0))
    assert named.mesh().vertices.detach().norm(dim=1).mean().item() == pytest.approx(0.4 * math.log(2) ** 0.25, abs=0.005)


class HollowField(BallField):
    """A thick shell, open below: what is in it no view from above the horizon sees."""

    def density(self, points: Tensor) -> Tensor:
        inside = points.norm(dim=1) < 0.3
        below = (points[:, [0, 2]].norm(dim=1) < 0.2) & (points[:, 1] < 0)
        return torch.where(inside | below, 0.0, self.peak * (points.norm(dim=1) < 0.6))


@pytest.mark.parametrize(("lowest", "hollow"), [(-10.0, False), (-90.0, True)])
def test_what_the_views_never_look_into_is_solid(lowest: float, hollow: bool) -> None:
    coarse, settings = Coarse(HollowField(), OccupancyGrid(8)), FineSettings(tet_size=40, threshold=20.0)
    views = ViewSettings(elevation_degrees=(lowest, 50.0))
    mesh = start_from_field(coarse, 64, settings, views, 0.02, torch.Generator().manual_seed(0)).mesh().detach()
    assert bool((mesh.vertices.norm(dim=1) < 0.4).any()) == hollow


def test_the_cells_start_twice_as_large_for_each_halving() -> None:
    settings = FineSettings(tet_size=32, volume_subdivisions=2, steps=9, threshold=20.0)
    assert halving_steps(settings) == [3, 6]
    assert max(start(BallField(), settings).lattice.counts) == 8
    assert halving_steps(settings.model_copy(update={"steps": 0})) == []


def test_an_empty_field_is_named() -> None:
    with poor_outcome("empty", "density threshold: the density's peaks lie in"):
        start(BallField(peak=1e-6), FineSettings(tet_size=16))
