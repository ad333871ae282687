"""How near a surface is to a known object: by volume, by surface, and by what views between the turntable's see."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.geometry.samples import spread_points
from dreamfusion_mesh.kernels.launch import as_warp
from dreamfusion_mesh.kernels.trace import SurfaceTree
from dreamfusion_mesh.records import Mesh, Shading, Views
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.raster.render import render_mesh
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views
from dreamfusion_mesh.stages.fine import Surface
from tools.oracle.score import draw
from tools.oracle.shapes import Shape, Solid

_SEED = 5
_POINTS = 100_000  # in the box: the standard error of an IoU of .95 over a tenth of it is .002
_SURFACE_POINTS = 20_000


@dataclass(frozen=True)
class Figures:
    """iou of the volumes; silhouette and colour: PSNR in dB over eight held-out views; chamfer: mean distance both ways, scene units."""

    iou: float
    silhouette: float
    colour: float
    chamfer: float
    faces: int


@torch.no_grad()
def measure(surface: Surface, shape: Shape, rasterizer: Rasterizer) -> Figures:
    mesh, views = surface.mesh, held_out()
    truth, cover = draw(shape, views, supersample=3)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    render = render_mesh(rasterizer, mesh, normals, surface.field.albedo, views, shader(views))
    seen = psnr(render.alpha, cover), psnr(render.rgb, truth)
    return Figures(volume_iou(mesh, shape.sdf), *seen, chamfer(mesh, shape.sdf), len(mesh.faces))


def held_out(size: int = 96) -> Views:
    """Eight views between those a turntable shows, from below to above; never a draw of training's."""
    azimuth = torch.arange(8) * math.pi / 4 + 0.3
    elevation = torch.tensor([-0.1, 0.2, 0.5, 0.8] * 2)
    cameras = orbit(azimuth, elevation, torch.full((8,), 2.6), torch.full((8,), math.radians(40)), size, size)
    return plain_views(cameras, Shading.ALBEDO, (0.5, 0.5, 0.5), 0.35, 0.7)


def psnr(ours: Tensor, truth: Tensor) -> float:
    return float(-10 * torch.log10((ours - truth).square().mean()))


def volume_iou(mesh: Mesh, solid: Solid) -> float:
    # Random points: the layers of a regular grid may lie along a flat side, and then count it wholly or not at all.
    points = torch.rand(_POINTS, 3, generator=torch.Generator().manual_seed(_SEED)) * 2 - 1
    ours, truth = inside_mesh(mesh, points), solid(points) < 0
    return float((ours & truth).sum() / (ours | truth).sum())


def chamfer(mesh: Mesh, solid: Solid) -> float:
    """Half the sum of the mean distances from either surface to the other, scene units."""
    ours, _ = spread_points(mesh.vertices, mesh.faces, _SURFACE_POINTS)
    _, _, there = SurfaceTree(mesh.vertices, mesh.faces).closest(points_on(solid))
    return float((solid(ours).abs().mean() + there.mean()) / 2)


@torch.enable_grad()
def points_on(solid: Solid) -> Tensor:
    """[n, 3] points of the solid's surface: those of a thin shell, moved along the distance's gradient."""
    points = torch.rand(4 * _POINTS, 3, generator=torch.Generator().manual_seed(_SEED)) * 2 - 1
    points = points[solid(points).abs() < 0.02].requires_grad_()
    for _ in range(4):
        distance = solid(points)
        (slope,) = torch.autograd.grad(distance.sum(), points)
        points = (points - distance[:, None] * torch.nn.functional.normalize(slope, dim=1)).detach().requires_grad_()
    points = points.detach()
    return points[solid(points).abs() < 1e-3]


@wp.kernel
def _winding(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), inside: wp.array(dtype=wp.int32)):
    i = wp.tid()
    query = wp.mesh_query_point_sign_winding_number(mesh, points[i], 10.0, 3.0)
    inside[i] = wp.where(query.result and query.sign < 0.0, 1, 0)


def inside_mesh(mesh: Mesh, points: Tensor) -> Tensor:
    """[N] bool whether each of the points [N, 3] lies in the closed mesh, by its winding number."""
    solid = wp.Mesh(as_warp(mesh.vertices, wp.vec3), as_warp(mesh.faces.reshape(-1).int(), wp.int32), support_winding_number=True)
    near = ((points > mesh.vertices.amin(0)) & (points < mesh.vertices.amax(0))).all(dim=1)
    asked = points[near]
    found = torch.zeros(len(asked), dtype=torch.int32)
    wp.launch(_winding, dim=len(asked), inputs=[solid.id, as_warp(asked, wp.vec3), as_warp(found, wp.int32)], device="cpu")
    return near.masked_scatter(near, found.bool())
