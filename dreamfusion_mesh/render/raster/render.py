"""A mesh becomes a Render: which triangle each pixel sees, what is there, and silhouettes whose gradients move the vertices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.contracts import Probe, Rasterizer, Shader
from dreamfusion_mesh.records import Fragments, Mesh, Render, Views
from dreamfusion_mesh.render.cameras import clip_from_world

# The colour [N, 3] of a surface: of what was rasterized, the pixels [N] that see it, and its points [N, 3] there.
SurfaceColor = Callable[[Fragments, Tensor, Tensor], Tensor]


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

    def probed(fragments: Fragments, seen: Tensor, points: Tensor) -> Tensor:
        return albedo(points)

    return render_surface(rasterizer, mesh, vertex_normals, None, probed, views, shade, near, far)


def render_surface(
    rasterizer: Rasterizer,
    mesh: Mesh,
    normals: Tensor,
    normal_faces: Tensor | None,
    color: SurfaceColor,
    views: Views,
    shade: Shader,
    near: float = 0.1,
    far: float = 10.0,
) -> Render:
    """As `render_mesh`, for a surface whose colour is known by pixel, and whose normals [N, 3] may have rows `normal_faces` [F, 3] of their
    own (None: those of the vertices), so that creases are sharp.
    """
    cameras = views.cameras
    height, width, count = cameras.height, cameras.width, len(views)
    homogeneous = torch.cat((mesh.vertices, torch.ones_like(mesh.vertices[:, :1])), dim=1)
    clip = homogeneous @ clip_from_world(cameras, near, far).to(homogeneous).transpose(1, 2)
    fragments = rasterizer.rasterize(clip, mesh.faces, (height, width))
    surface = _points_and_normals(rasterizer, mesh, normals, normal_faces, fragments)
    seen = (fragments.face.reshape(-1) >= 0).nonzero()[:, 0]
    points, facing = surface.reshape(-1, 6)[seen].split(3, dim=1)
    facing, view = normalize(facing, dim=1), seen // (height * width)
    colors = color(fragments, seen, points)
    layers = torch.cat(
        (
            shade(colors, facing, view),
            torch.ones_like(points[:, :1]),
            colors,
            facing,
            (points - cameras.positions[view]).norm(dim=1, keepdim=True),
        ),
        dim=1,
    )
    background = views.background[:, None, None].expand(count, height, width, 3).to(layers)
    empty = torch.cat((background, background.new_zeros(count, height, width, 8)), dim=3).reshape(-1, 11)
    filled = empty.index_copy(0, seen, layers).reshape(count, height, width, 11)
    rgb, alpha, flat, normal, depth = rasterizer.antialias(filled, fragments, clip, mesh.faces).split((3, 1, 3, 3, 1), dim=3)
    return Render(rgb, alpha, flat, normal, depth, torch.zeros_like(alpha))


def _points_and_normals(rasterizer: Rasterizer, mesh: Mesh, normals: Tensor, normal_faces: Tensor | None, fragments: Fragments) -> Tensor:
    """[B, H, W, 6] of what each pixel sees; one call where both have the same rows."""
    if normal_faces is None:
        return rasterizer.interpolate(torch.cat((mesh.vertices, normals), dim=1), fragments, mesh.faces)
    apart = ((mesh.vertices, mesh.faces), (normals, normal_faces))
    return torch.cat([rasterizer.interpolate(values, fragments, rows) for values, rows in apart], dim=3)


def downsample(image: Tensor, factor: int) -> Tensor:
    """Area average [B, H, W, C] -> [B, H / factor, W / factor, C]. Raises ValueError where the factor does not divide the size."""
    count, height, width, channels = image.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"factor: {factor}, expected a divisor of {height} and {width}")
    return image.reshape(count, height // factor, factor, width // factor, factor, channels).mean(dim=(2, 4))
