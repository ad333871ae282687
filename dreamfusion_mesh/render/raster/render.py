"""A mesh becomes a Render: which triangle each pixel sees, what is there, and silhouettes whose gradients move the vertices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.contracts import Probe, Rasterizer, Shader
from dreamfusion_mesh.records import Mesh, Render, Views
from dreamfusion_mesh.render.cameras import clip_from_world


def render_mesh(
    rasterizer: Rasterizer,
    mesh: Mesh,
    vertex_normals: Tensor,
    albedo: Probe,
    views: Views,
    shade: Shader,
    near: float = 0.1,
    far: float = 10.0,
) -> Render:
    """See a mesh from `views`, lit pixel by pixel, over the views' background.

    vertex_normals [V, 3] (any length); `albedo` takes the seen surface points [N, 3] to [N, 3]; `shade` as shading.shader gives it.
    Gradients reach the vertices through silhouettes, points and normals, and whatever `albedo` holds. Raises as the rasterizer does.
    """
    cameras = views.cameras
    height, width, count = cameras.height, cameras.width, len(views)
    homogeneous = torch.cat((mesh.vertices, torch.ones_like(mesh.vertices[:, :1])), dim=1)
    clip = homogeneous @ clip_from_world(cameras, near, far).to(homogeneous).transpose(1, 2)
    fragments = rasterizer.rasterize(clip, mesh.faces, (height, width))
    surface = rasterizer.interpolate(torch.cat((mesh.vertices, vertex_normals), dim=1), fragments, mesh.faces)
    seen = (fragments.face.reshape(-1) >= 0).nonzero()[:, 0]
    points, normals = surface.reshape(-1, 6)[seen].split(3, dim=1)
    normals, view = normalize(normals, dim=1), seen // (height * width)
    colors = albedo(points)
    layers = torch.cat(
        (
            shade(colors, normals, view),
            torch.ones_like(points[:, :1]),
            colors,
            normals,
            (points - cameras.positions[view]).norm(dim=1, keepdim=True),
        ),
        dim=1,
    )
    background = views.background[:, None, None].expand(count, height, width, 3).to(layers)
    empty = torch.cat((background, background.new_zeros(count, height, width, 8)), dim=3).reshape(-1, 11)
    filled = empty.index_copy(0, seen, layers).reshape(count, height, width, 11)
    rgb, alpha, flat, normal, depth = rasterizer.antialias(filled, fragments, clip, mesh.faces).split((3, 1, 3, 3, 1), dim=3)
    return Render(rgb, alpha, flat, normal, depth, torch.zeros_like(alpha))


def downsample(image: Tensor, factor: int) -> Tensor:
    """Area average [B, H, W, C] -> [B, H / factor, W / factor, C]. Raises ValueError where the factor does not divide the size."""
    count, height, width, channels = image.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"factor: {factor}, expected a divisor of {height} and {width}")
    return image.reshape(count, height // factor, factor, width // factor, factor, channels).mean(dim=(2, 4))
