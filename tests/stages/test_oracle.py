"""The pipeline against a guidance that is exactly right: what it knows must come out, whatever any model draws."""

from __future__ import annotations

import math

import pytest
import torch
import warp as wp
from oracle_shapes import SHAPES, OracleScore, Shape, draw
from torch import Tensor

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.kernels.launch import as_warp
from dreamfusion_mesh.records import Mesh, Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.raster.render import render_mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views
from dreamfusion_mesh.stages.coarse import fit_field
from dreamfusion_mesh.stages.fine import fit_surface
from dreamfusion_mesh.stages.start import start_from_field

# The oracle may be asked from anywhere and errs nowhere, so it needs wide views and little smoothing.
SETTINGS = [
    "coarse.steps=250",
    "fine.steps=150",
    "fine.views=4",
    "fine.sdf_learning_rate=0.004",
    "fine.deform_learning_rate=0.01",
    "fine.normal_consistency=0.01",
    "fine.laplacian=0.0003",
    "fine.sdf_sign=[0.0005, 0.0001]",
    "views.elevation_degrees=[-30, 40]",
    "views.overhead=0.05",
    "views.textureless=0.1",
]


@wp.kernel
def _winding(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), inside: wp.array(dtype=wp.int32)):
    i = wp.tid()
    query = wp.mesh_query_point_sign_winding_number(mesh, points[i], 10.0)
    inside[i] = wp.where(query.result and query.sign < 0.0, 1, 0)


def inside_mesh(mesh: Mesh, points: Tensor) -> Tensor:
    solid = wp.Mesh(as_warp(mesh.vertices, wp.vec3), as_warp(mesh.faces.reshape(-1).int(), wp.int32), support_winding_number=True)
    inside = torch.zeros(len(points), dtype=torch.int32)
    wp.launch(_winding, dim=len(points), inputs=[solid.id, as_warp(points, wp.vec3), as_warp(inside, wp.int32)], device="cpu")
    return inside.bool()


def volume_iou(mesh: Mesh, shape: Shape) -> float:
    # Random points: the layers of a regular grid may lie along a flat side, and then count it wholly or not at all.
    points = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(5)) * 2 - 1
    ours, truth = inside_mesh(mesh, points), shape.sdf(points) < 0
    return float((ours & truth).sum() / (ours | truth).sum())


def psnr(ours: Tensor, truth: Tensor) -> float:
    return float(-10 * torch.log10((ours - truth).square().mean()))


def held_out(size: int = 96):
    """Eight views between those a turntable shows, from below to above; never a draw of training's."""
    azimuth = torch.arange(8) * math.pi / 4 + 0.3
    elevation = torch.tensor([-0.1, 0.2, 0.5, 0.8] * 2)
    cameras = orbit(azimuth, elevation, torch.full((8,), 2.6), torch.full((8,), math.radians(40)), size, size)
    return plain_views(cameras, Shading.ALBEDO, (0.5, 0.5, 0.5), 0.35, 0.7)


# Fewer steps over smaller images; two colours and the seam between them. The ring's hole and the table's legs need the whole.
SHORT = ["coarse.steps=130", "coarse.size=48", "fine.steps=50", "fine.size=96", "fine.tet_size=40", "fine.views=2"]
BY_NAME = {shape.name: shape for shape in SHAPES}
CASES = [pytest.param("pair", SHORT, id="short")]
CASES += [pytest.param(name, [], id=name, marks=[pytest.mark.sweep, pytest.mark.timeout(3600)]) for name in BY_NAME]


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_an_exact_score_brings_the_object_back(name: str, changes: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shape, config = BY_NAME[name], load_config("demo", [*SETTINGS, *changes])
    device, draws = torch.device("cpu"), torch.Generator().manual_seed(1)
    model, rasterizer = OracleScore(shape, config.coarse.size), resolve_rasterizer("auto", torch.device("cpu"))
    coarse, _ = fit_field(model, config.coarse, config.views, config.guidance, draws, device)
    looks = torch.Generator().manual_seed(config.seed)
    start = start_from_field(coarse, config.coarse.samples, config.fine, config.views, config.mesh.smallest_part, looks)
    surface, _ = fit_surface(start, coarse.field, model, rasterizer, config.fine, config.views, config.guidance, draws)

    views = held_out()
    truth, cover = draw(shape, views)
    mesh = surface.mesh
    with torch.no_grad():
        render = render_mesh(rasterizer, mesh, vertex_normals(mesh.vertices, mesh.faces), surface.field.albedo, views, shader(views))
    figures = {"iou": volume_iou(mesh, shape), "silhouette": psnr(render.alpha, cover), "colour": psnr(render.rgb, truth)}
    with capsys.disabled():
        values = f"iou {figures['iou']:.3f}, silhouette {figures['silhouette']:.1f} dB, colour {figures['colour']:.1f} dB"
        print(f"\noracle {shape.name}: {values}, {len(mesh.faces)} faces")
    assert figures["iou"] >= 0.9
    assert figures["silhouette"] >= 25
    assert figures["colour"] >= 25
