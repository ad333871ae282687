"""Shading: exact values a mode, light limits, gradients only where they belong."""

import pytest
import torch

from dreamfusion_mesh.records import Lights, Shading, Views
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.shading.lambert import needs_normals, shader


def _views(*modes, ambient=0.25, diffuse=0.5):
    count = len(modes)
    lights = Lights(torch.tensor([[0.0, 1, 0]]).expand(count, 3), torch.full((count,), ambient), torch.full((count,), diffuse))
    cameras = turntable(count, 0.0, 2.6, 0.7, 4, 4, "cpu")
    return Views(cameras, lights, torch.tensor([int(mode) for mode in modes]), torch.zeros(count, 3))


ALL = (Shading.ALBEDO, Shading.LAMBERTIAN, Shading.TEXTURELESS)
UP, DOWN, SLANTED = [0.0, 1, 0], [0.0, -1, 0], [0.0, 0.6, 0.8]


def test_each_view_is_shaded_by_its_own_mode():
    shade = shader(_views(*ALL))
    albedo = torch.tensor([[0.8, 0.4, 0.2]]).repeat(9, 1)
    normals = torch.tensor([UP, DOWN, SLANTED] * 3)
    rgb = shade(albedo, normals, torch.arange(3).repeat_interleave(3))
    shine = torch.tensor([0.75, 0.25, 0.55])[:, None]
    expected = torch.cat((albedo[:3], albedo[:3] * shine, torch.full((3, 3), 0.8) * shine))
    torch.testing.assert_close(rgb, expected, rtol=0, atol=1e-7)


def test_too_much_light_saturates_at_one():
    rgb = shader(_views(Shading.LAMBERTIAN, ambient=1.0, diffuse=1.0))(torch.full((1, 3), 0.7), torch.tensor([UP]), torch.zeros(1).long())
    assert torch.equal(rgb, torch.ones(1, 3))


def test_flat_views_need_no_normals_and_return_the_albedo_itself():
    views = _views(Shading.ALBEDO, Shading.ALBEDO)
    albedo = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    assert not needs_normals(views)
    assert torch.equal(shader(views)(albedo, None, torch.zeros(5).long()), albedo)


@pytest.mark.parametrize("mode", [Shading.LAMBERTIAN, Shading.TEXTURELESS])
def test_lit_views_ask_for_normals(mode):
    views = _views(Shading.ALBEDO, mode)
    assert needs_normals(views)
    with pytest.raises(ValueError, match="normals"):
        shader(views)(torch.ones(1, 3), None, torch.zeros(1).long())


def test_gradients_reach_albedo_and_normals_only_where_the_mode_uses_them():
    albedo = torch.full((3, 3), 0.5, dtype=torch.float64, requires_grad=True)
    normals = torch.tensor([SLANTED] * 3, dtype=torch.float64, requires_grad=True)
    shader(_views(*ALL))(albedo, normals, torch.arange(3)).sum().backward()
    torch.testing.assert_close(albedo.grad, torch.tensor([1.0, 0.55, 0.0], dtype=torch.float64)[:, None].expand(3, 3))
    along = torch.tensor([0.0, 3 * 0.5 * 0.5, 3 * 0.8 * 0.5], dtype=torch.float64)
    torch.testing.assert_close(normals.grad, along[:, None] * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
