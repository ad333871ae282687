"""A mesh becomes a Render: which triangle each pixel sees, what is there, and silhouettes whose gradients move the vertices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Fragments, Mesh, Render, Views
from dreamfusion_mesh.render.cameras import clip_from_world
from dreamfusion_mesh.render.raster_backend import BackEnd, Limits
from dreamfusion_mesh.render.shading import Shade

Albedo = Callable[[Tensor], Tensor]
_LOG = logging.getLogger(__name__)


class Rasterizer(Protocol):
    """The contract of every back end. Clip space: x right, y up, -w <= z <= w, w the depth along the view; row 0 on top; no culling.

    faces [F, 3] int64 are one mesh seen in all views, [B, F, 3] a mesh for each view; rows of three equal vertices draw nothing, so that
    meshes of different lengths can be padded. What a back end cannot give of the contract is stated in `limits`.
    The same input gives the same fragments and images, bit for bit. Gradients repeat bit for bit on the CPU; on CUDA, where backward adds
    atomically in no fixed order, to `limits.gradient_spread` (1e-5) of the largest.
    All raise ValueError naming the argument where shapes, dtypes or devices do not fit, a face is out of range or a position not finite.

    licence         of the part that draws
    terms           what the user has to know of it, None where it is permissive
    commercial_use  whether the licence allows it
    """

    name: str
    licence: str
    terms: str | None
    commercial_use: bool
    limits: Limits

    def rasterize(self, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
        """What the pixels' centres see of clip [B, V, 4] and `faces` at (H, W), 1 or more each; bary and depth carry gradients to `clip`.

        `Fragments.face` is a row of the view's own faces. A centre on an edge belongs to one of its two faces; of faces at equal depth the
        first wins. Parts of triangles before the near plane or behind the camera are cut off.
        """
        ...

    def interpolate(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """[V, C] or [B, V, C] to [B, H, W, C], zero where no face is; gradients in both, in fragments.bary along its sum of 1."""
        ...

    def antialias(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """`image` [B, H, W, C] with smooth silhouettes; gradients in the image and, through where the silhouettes lie, in `clip`."""
        ...


def resolve_rasterizer(backend: str, device: torch.device | str, commercial: bool = False) -> Rasterizer:
    """The back end that `backend` ("auto" or a name) stands for on `device`; terms that the user has to know are logged as a warning once.

    Raises BadInput where it is unknown, missing or unusable there, or where `commercial` and its licence bars that.
    """
    kind = _kind(backend)
    if commercial and not kind.commercial_use:
        raise BadInput(f"raster.backend {backend!r}: refused with --commercial ({kind.terms}); use --set raster.backend=warp")
    rasterizer = kind(torch.device(device))
    _LOG.info("rasterizer: %s (%s) on %s, asked for %s", rasterizer.name, rasterizer.licence, device, backend)
    if rasterizer.terms is not None:
        _warn_once(rasterizer.terms)
    return rasterizer


def _kind(backend: str) -> type[BackEnd]:
    match backend:
        case "auto" | "warp":
            from dreamfusion_mesh.render.raster_warp import WarpRasterizer

            return WarpRasterizer
        case "nvdiffrast":
            from dreamfusion_mesh.render.raster_nvdiffrast import NvdiffrastRasterizer

            return NvdiffrastRasterizer
        case "kaolin":
            from dreamfusion_mesh.render.raster_kaolin import KaolinRasterizer

            return KaolinRasterizer
        case _:
            raise BadInput(f"raster.backend {backend!r}: not known; there are auto, warp, nvdiffrast and kaolin")


@cache
def _warn_once(terms: str) -> None:
    _LOG.warning("%s", terms)


def render_mesh(
    rasterizer: Rasterizer,
    mesh: Mesh,
    vertex_normals: Tensor,
    albedo: Albedo,
    views: Views,
    shade: Shade,
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
