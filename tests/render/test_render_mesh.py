"""A sphere seen through render_mesh against the sphere itself."""

import math

import pytest
import torch
from raster_twin import rounded, sphere, within
from torch import Tensor

from dreamfusion_mesh.config import ViewSettings
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.records import Mesh, Render, Shading, Views
from dreamfusion_mesh.render.cameras import orbit, rays
from dreamfusion_mesh.render.raster.render import downsample, render_mesh
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views, random_views

RADIUS, DISTANCE, FOV, SIZE = 0.6, 2.5, 0.7, 65


def look(shading: Shading, background: tuple[float, float, float] = (0.1, 0.2, 0.3), size: int = SIZE) -> Views:
    values = (torch.tensor([a, b], dtype=torch.float64) for a, b in ((0.4, 2.6), (0.3, -0.7), (DISTANCE, DISTANCE), (FOV, FOV)))
    return plain_views(orbit(*values, size, size), shading, background, 0.3, 0.7)


def ball(rounds: int = 4) -> Mesh:
    vertices, faces = sphere(rounds)
    return Mesh(vertices * RADIUS, faces)


def stripes(points: Tensor) -> Tensor:
    return 0.5 + 0.4 * torch.sin(5 * points)


def draw(rasterizer: Rasterizer, mesh: Mesh, views: Views) -> Render:
    return render_mesh(rasterizer, mesh, 3 * mesh.vertices, stripes, views, shader(views))


def test_sphere_covers_the_projected_disc(rasterizer: Rasterizer) -> None:
    render = draw(rasterizer, ball(5), look(Shading.ALBEDO))
    radius = math.tan(math.asin(RADIUS / DISTANCE)) / math.tan(FOV / 2) * SIZE / 2
    assert render.alpha.sum(dim=(1, 2, 3)).tolist() == pytest.approx([math.pi * radius**2] * 2, rel=3e-3)


def test_interior_pixels_match_the_analytic_sphere(rasterizer: Rasterizer) -> None:
    views = look(Shading.LAMBERTIAN)
    render = draw(rasterizer, ball(6), views)
    origins, directions = rays(views.cameras)
    along = -(origins * directions).sum(dim=3, keepdim=True)
    off = (origins * origins).sum(dim=3, keepdim=True) - along**2
    inner = (off < (0.9 * RADIUS) ** 2)[..., 0]
    depth = along - (RADIUS**2 - off).clamp_min(0).sqrt()
    points = origins + depth * directions
    normals = points / RADIUS
    view = torch.arange(2)[:, None, None].expand(inner.shape)[inner]
    expected = shader(views)(stripes(points[inner]), normals[inner], view)
    assert (render.alpha[inner] == 1).all()
    for found, true in ((render.depth, depth), (render.normal, normals), (render.albedo, stripes(points))):
        torch.testing.assert_close(found[inner], true[inner], rtol=0, atol=rounded(rasterizer, 2e-3, 4e-3))
    torch.testing.assert_close(render.rgb[inner], expected, rtol=0, atol=3e-3)
    assert not render.orientation.any()


def test_unlit_views_are_premultiplied_albedo_over_the_background(rasterizer: Rasterizer) -> None:
    views = look(Shading.ALBEDO)
    render = draw(rasterizer, ball(), views)
    edge = (render.alpha > 0) & (render.alpha < 1)
    assert edge.sum() > 100
    torch.testing.assert_close(
        render.rgb, render.albedo + (1 - render.alpha) * views.background[:, None, None], rtol=0, atol=within(rasterizer, 1e-12, 1e-6)
    )
    outside = (render.alpha == 0).expand_as(render.normal)
    assert not torch.cat((render.normal[outside], render.albedo[outside], render.depth[render.alpha == 0])).any()


def test_gradients_reach_vertices_and_albedo_parameters(rasterizer: Rasterizer) -> None:
    """d/dr of the covered area is 2 pi r' dr'/dr; depth at the middle falls as r grows; the albedo's gradient is alpha's sum."""
    unit = ball(4)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    tint = torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
    views = look(Shading.ALBEDO)
    render = render_mesh(rasterizer, Mesh(unit.vertices * scale, unit.faces), unit.vertices, tint.expand_as, views, shader(views))
    slope = SIZE / 2 / math.tan(FOV / 2)
    derivative = 2 * math.pi * slope**2 * RADIUS**2 * DISTANCE**2 / (DISTANCE**2 - RADIUS**2) ** 2
    (area,) = torch.autograd.grad(render.alpha.sum() / 2, scale, retain_graph=True)
    assert area.item() == pytest.approx(derivative, rel=0.02)
    (middle,) = torch.autograd.grad(render.depth[:, SIZE // 2, SIZE // 2].mean(), scale, retain_graph=True)
    assert middle.item() == pytest.approx(-RADIUS, rel=5e-3)
    (color,) = torch.autograd.grad(render.rgb.sum(), tint)
    torch.testing.assert_close(color, render.alpha.detach().sum().expand(3), rtol=1e-9, atol=0)


def test_albedo_is_evaluated_on_the_surface_only_and_accepts_no_points(rasterizer: Rasterizer) -> None:
    asked = []

    def albedo(points: Tensor) -> Tensor:
        asked.append(points)
        return torch.ones_like(points)

    views = look(Shading.TEXTURELESS)
    mesh = ball(2)
    render_mesh(rasterizer, mesh, mesh.vertices, albedo, views, shader(views))
    assert ((asked[0].norm(dim=1) <= RADIUS + 1e-9) & (asked[0].norm(dim=1) > 0.9 * RADIUS)).all()
    nothing = Mesh(torch.zeros(0, 3, dtype=torch.float64, requires_grad=True), torch.zeros(0, 3, dtype=torch.int64))
    empty = render_mesh(rasterizer, nothing, nothing.vertices, albedo, views, shader(views))
    assert asked[1].shape == (0, 3)
    assert not empty.alpha.any()
    torch.testing.assert_close(empty.rgb, views.background[:, None, None].expand_as(empty.rgb), rtol=0, atol=within(rasterizer, 0, 1e-7))
    empty.rgb.sum().backward()


def test_random_views_in_float32_fill_every_channel(rasterizer: Rasterizer) -> None:
    views = random_views(3, ViewSettings(), 33, 47, torch.Generator().manual_seed(0), device="cpu")
    mesh = ball(3)
    single = Mesh(mesh.vertices.float().requires_grad_(), mesh.faces)
    render = draw(rasterizer, single, views)
    assert render.rgb.dtype == torch.float32
    assert render.rgb.shape == (3, 33, 47, 3)
    assert all(part.min() >= 0 and part.max() <= 1 for part in (render.rgb, render.alpha, render.albedo))
    (render.rgb.sum() + render.normal.sum() + render.depth.sum()).backward()
    assert single.vertices.grad is not None
    assert torch.isfinite(single.vertices.grad).all()
    assert single.vertices.grad.any()


def test_downsampling_keeps_means_and_needs_a_divisor() -> None:
    image = torch.rand(2, 6, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    small = downsample(image, 3)
    assert small.shape == (2, 2, 3, 3)
    torch.testing.assert_close(small[:, 1, 2], image[:, 3:, 6:].mean(dim=(1, 2)), rtol=0, atol=1e-15)
    assert torch.equal(downsample(image, 1), image)
    for factor in (2, 0, 4):
        with pytest.raises(ValueError, match=f"factor: {factor}"):
            downsample(image, factor)
