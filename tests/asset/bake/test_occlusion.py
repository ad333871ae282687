"""Occlusion against closed forms: a floor beside a wall, the inside of a box, and surfaces that nothing is near."""

from __future__ import annotations

import torch
from one_device import PRETENDED, OneDevice, assert_on
from surfaces import cube, sphere

from dreamfusion_mesh.asset.bake.gutter import gutter_texels
from dreamfusion_mesh.asset.bake.occlusion import bake_occlusion
from dreamfusion_mesh.asset.bake.texels import sample_texels
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

RASTERIZER = resolve_rasterizer("auto", "cpu")
SETTINGS = TextureSettings(size=128, padding=2)
FLAT = torch.tensor([[0, 1, 2], [0, 2, 3]])
LONG = 50.0


def floor_and_wall() -> tuple[Mesh, Mesh]:
    """A floor over x in [0, 2], seen from above, in the texture; and the surface that it is part of: with a wall at x = 0, 1 high."""
    floor = torch.tensor([[0.0, 0, 1], [2, 0, 1], [2, 0, -1], [0, 0, -1]])
    uvs = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])
    wide = torch.tensor([[0.0, 0, LONG], [LONG, 0, LONG], [LONG, 0, -LONG], [0, 0, -LONG]])
    wall = torch.tensor([[0.0, 0, -LONG], [0, 1, -LONG], [0, 1, LONG], [0, 0, LONG]])
    return Mesh(floor, FLAT, uvs, FLAT), Mesh(torch.cat([wide, wall]), torch.cat([FLAT, FLAT + 4]))


def test_a_floor_beside_a_wall_is_as_open_as_the_form_factor_says() -> None:
    """Of a patch and a wall without end, at a right angle (Howell's catalogue, B-1): half of 1 - x / sqrt(x^2 + h^2)."""
    mesh, reference = floor_and_wall()
    texels = sample_texels(mesh, RASTERIZER, SETTINGS, reference)
    found, x = bake_occlusion(texels, 64), texels.points[:, 0]
    inner = texels.covered.view(-1)[texels.rows] & (x > 0.1)
    error = (found - (1 - 0.5 * (1 - x / (x.square() + 1).sqrt())))[inner]
    assert abs(float(error.mean())) < 0.005
    assert float(error.square().mean().sqrt()) < 0.02
    assert float(error.abs().max()) < 0.08
    assert float(found[x < 0.05].mean()) < 0.6


def test_the_inside_of_a_box_is_dark_and_the_outside_of_a_ball_is_open() -> None:
    box = unwrap(cube(), SETTINGS).mesh
    inwards = Mesh(box.vertices, box.faces.flip(1), 1 - box.uvs[:, [1, 0]], box.face_uvs.flip(1))
    assert float(bake_occlusion(sample_texels(inwards, RASTERIZER, SETTINGS, None), 16).max()) == 0
    for surface in (box, unwrap(sphere(3), SETTINGS).mesh):
        texels = sample_texels(surface, RASTERIZER, SETTINGS, None)
        assert float(bake_occlusion(texels, 64).min()) > 0.99  # rays do not meet the face that they leave
        assert torch.equal(bake_occlusion(texels, 0), torch.ones(len(texels.rows)))


def test_few_rays_are_noisier_and_none_too_few() -> None:
    mesh, reference = floor_and_wall()
    texels = sample_texels(mesh, RASTERIZER, SETTINGS, reference)
    exact = 1 - 0.5 * (1 - texels.points[:, 0] / (texels.points[:, 0].square() + 1).sqrt())
    noise = [float((bake_occlusion(texels, rays) - exact).square().mean().sqrt()) for rays in (1, 4, 64)]
    assert noise[0] > noise[1] > noise[2]
    assert torch.equal(bake_occlusion(texels, 64), bake_occlusion(texels, 64))


def test_occlusion_stays_on_its_device() -> None:
    mesh, reference = floor_and_wall()
    wanted = bake_occlusion(sample_texels(mesh, RASTERIZER, SETTINGS, reference), 16)
    with OneDevice(edges=[gutter_texels, corner_frames]) as one:
        found = bake_occlusion(sample_texels(mesh.to(one.device), RASTERIZER, SETTINGS, reference.to(one.device)), 16)
    assert_on(PRETENDED, found)
    assert torch.equal(found.cpu(), wanted)
