"""Where rays meet the surface: on a ball, seen as a volume and as a mesh."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from surfaces import sphere
from torch import Tensor

from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.guidance.losses.surface_noise import voxel_rows
from dreamfusion_mesh.records import FieldSample, Mesh, Render, Shading, Views
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.points import surface_points
from dreamfusion_mesh.render.raster.render import render_mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume

RADIUS, SIZE = 0.6, 24


def views_of_two() -> Views:
    angles, same = torch.tensor([0.0, 1.2]), torch.ones(2)
    return plain_views(orbit(angles, 0.3 * same, 2.6 * same, 0.7 * same, SIZE, SIZE), Shading.ALBEDO, (1.0, 1.0, 1.0), 0.3, 0.7)


def as_volume(views: Views) -> Render:
    def field(points: Tensor, normals: bool) -> FieldSample:
        return FieldSample(1e4 * (points.norm(dim=1) < RADIUS).float(), torch.ones_like(points), None)

    return render_volume(field, OccupancyGrid(8), views, shader(views), 256, torch.Generator(), needs_normals=False, jitter=False)


def as_mesh(views: Views) -> Render:
    ball = sphere()
    mesh = Mesh(ball.vertices * RADIUS / ball.vertices.norm(dim=1, keepdim=True), ball.faces)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    return render_mesh(resolve_rasterizer("warp", "cpu"), mesh, normals, torch.ones_like, views, shader(views))


@pytest.mark.parametrize("side", [SIZE, 2 * SIZE])
@pytest.mark.parametrize("draw", [as_volume, as_mesh])
def test_the_points_lie_on_the_ball_that_both_renderers_see(draw, side: int) -> None:
    views = views_of_two()
    found = surface_points(draw(views), views, side)
    share = found.hit.float().mean()
    assert found.points.shape == (2, side, side, 3)
    assert 0.3 < float(share) < 0.4
    middle = slice(side // 3, -side // 3)
    assert found.hit[:, middle, middle].all()
    assert float((found.points[:, middle, middle].norm(dim=3) - RADIUS).abs().max()) < 0.015  # a sample along a ray is 0.0135 long
    around = found.points[:, side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1].mean(dim=(1, 2))
    torch.testing.assert_close(around, views.cameras.positions * RADIUS / 2.6, atol=0.02, rtol=0)


@pytest.mark.parametrize("draw", [as_volume, as_mesh])
def test_two_cameras_name_the_same_voxels_where_they_see_the_same_place(draw) -> None:
    """As the noise of consistent flow distillation has it: on the part of the ball that both see, wherever it is in their pictures."""
    views, voxels = views_of_two(), 8
    found = surface_points(draw(views), views, 4 * SIZE)
    first, second = (points[hit] for points, hit in zip(found.points, found.hit, strict=True))
    distances, nearest = torch.cdist(first, second).min(dim=1)
    both = distances < 0.015
    same = voxel_rows(first, voxels)[both] == voxel_rows(second[nearest], voxels)[both]
    assert int(both.sum()) > 50
    assert float(same.float().mean()) > 0.9
    assert len(voxel_rows(first, voxels)[both].unique()) > 5


def test_fog_has_its_surface_in_the_middle_and_what_is_not_finite_has_none() -> None:
    views = views_of_two()
    ball = as_volume(views)
    half = dataclasses.replace(ball, alpha=0.6 * ball.alpha, depth=0.6 * ball.depth)
    assert torch.allclose(surface_points(half, views, SIZE).points, surface_points(ball, views, SIZE).points, atol=1e-5)
    thin = dataclasses.replace(ball, alpha=0.4 * ball.alpha, depth=0.4 * ball.depth)
    assert not surface_points(thin, views, SIZE).hit.any()
    broken = dataclasses.replace(ball, depth=torch.full_like(ball.depth, torch.nan))
    found = surface_points(broken, views, SIZE)
    assert not found.hit.any()
    assert found.points.isfinite().all()
