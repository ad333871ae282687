"""kaolin as a back end: it says which face each pixel sees; everything else is made from that here and in the Warp kernels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.contracts import Limits
from dreamfusion_mesh.render.raster.backend import Cause, Unusable, load_module, not_on_cuda, nothing_drawn
from dreamfusion_mesh.render.raster.warp import WarpRasterizer

_MODULE = "kaolin.render.mesh"
_PACKAGES = ("kaolin",)
_SMALLEST_W = 1e-9  # of the largest w; what is nearer to the camera's plane covers no centre that float64 could decide
_SMALLEST_SCALE = 1000  # kaolin's own, to which its guard against division by zero is fitted
_TIE_BREAK = (2.0**-26, 2.0**-40)  # pixels to the left and up, which puts every centre on one side of an edge
_REMEDY = "Install the wheel that NVIDIA builds for this torch and CUDA (the package of that name on the Python index is a placeholder)"


class KaolinRasterizer(WarpRasterizer):
    """`kaolin.render.mesh.rasterize` on CUDA for which face each pixel sees; interpolation and antialiasing are the Warp back end's.

    kaolin clips nothing and weights corners without perspective. So triangles are cut at the near plane first and keep their face's number,
    are handed over in float64 with z / w as depth, which is affine in the picture, and weights and depth come from the face afterwards.
    kaolin gives a centre on an edge to both of its faces or to none, so the picture is moved by `_TIE_BREAK`.
    Not given of the contract: an order among faces at equal depth.
    """

    name = "kaolin"
    licence = "Apache-2.0"
    limits = Limits(first_of_equals=False)

    def __init__(self, device: torch.device) -> None:
        causes = missing(device)
        if causes:
            raise Unusable(self.name, causes, _REMEDY)
        super().__init__(device)
        module: Any = load_module(_MODULE, _PACKAGES)[0]
        self._rasterize = module.rasterize

    def draw(self, clip: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """See BackEnd."""
        if clip.numel() == 0 or len(faces) == 0:
            return nothing_drawn(clip, height, width)
        with torch.no_grad():
            face = torch.cat([self._seen(view[faces].double(), height, width) for view in clip])
        return _surface(clip, faces, face)

    def _seen(self, corners: Tensor, height: int, width: int) -> Tensor:
        """[1, H, W] the nearest face of corners [F, 3, 4] float64 that lies behind the near plane, -1 where none."""
        owner = torch.arange(len(corners), device=corners.device)
        nearest = _SMALLEST_W * corners[..., 3].abs().amax()
        corners, owner = _cut(corners, owner, corners[..., 2] + corners[..., 3])
        corners, owner = _cut(corners, owner, corners[..., 3] - nearest)
        placed = corners[..., :3] / corners[..., 3:]
        (a, b, c), depth = placed[..., :2].unbind(dim=1), placed[..., 2]
        u, v = b - a, c - a
        solid = u[:, 0] * v[:, 1] != u[:, 1] * v[:, 0]  # kaolin takes every centre on a face without area as covered
        placed, depth, owner = placed[solid], depth[solid], owner[solid]
        if len(placed) == 0:
            return torch.full((1, height, width), -1, dtype=torch.int64, device=corners.device)
        # a multiple of both sides puts kaolin's centres, computed in float32, on whole numbers
        scale = height * width * math.ceil(_SMALLEST_SCALE / (height * width))
        blank = placed.new_zeros(1, len(placed), 3, 1)
        flat = (placed[None, ..., :2] + placed.new_tensor([-2 / width, 2 / height]) * placed.new_tensor(_TIE_BREAK)).contiguous()
        _, face = self._rasterize(height, width, -depth[None].contiguous(), flat, blank, multiplier=scale, eps=1e-30)
        return torch.where(face >= 0, owner[face.clamp_min(0)], -1)


def missing(device: torch.device) -> list[Cause]:
    """Every cause that keeps kaolin from being used on `device`."""
    module, cause = load_module(_MODULE, _PACKAGES)
    if module is not None and not hasattr(module, "rasterize"):
        cause = Cause("this version of kaolin has no kaolin.render.mesh.rasterize")
    return [cause for cause in (cause, not_on_cuda(device)) if cause]


def _cut(corners: Tensor, owner: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """Triangles [N, 3, 4] without their parts where `height` [N, 3], linear on each, is not above 0; a cut one may leave two. And whose.

    The cut of an edge is computed from its end above towards the other, so both of its triangles get the same point.
    """
    above = height > 0
    count = above.sum(dim=1)
    odd = torch.where(count == 1, above.int().argmax(dim=1), (~above).int().argmax(dim=1))  # the corner that is alone on its side
    order = (odd[:, None] + torch.arange(3, device=odd.device)) % 3
    turned = torch.gather(corners, 1, order[..., None].expand(*order.shape, 4))
    tall = torch.gather(height, 1, order)
    (a, b, c), (ha, hb, hc) = turned.unbind(dim=1), tall[..., None].unbind(dim=1)
    tip, base = count == 1, count == 2
    to_b, to_c = a + ha / (ha - hb) * (b - a), a + ha / (ha - hc) * (c - a)
    from_b, from_c = b + hb / (hb - ha) * (a - b), c + hc / (hc - ha) * (a - c)
    parts = [
        (corners, count == 3),
        (torch.stack((a, to_b, to_c), dim=1), tip),
        (torch.stack((from_b, b, c), dim=1), base),
        (torch.stack((from_b, c, from_c), dim=1), base),
    ]
    return torch.cat([part[kept] for part, kept in parts]), torch.cat([owner[kept] for _, kept in parts])


def _surface(clip: Tensor, faces: Tensor, face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`face` [B, H, W] without what lies beyond the far plane, and its bary and depth, differentiable in `clip`.

    Source: Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates".
    """
    _, height, width = face.shape
    seen = (face.reshape(-1) >= 0).nonzero()[:, 0]
    view, pixel = seen // (height * width), seen % (height * width)
    corners = clip[view[:, None], faces[face.reshape(-1)[seen]]].double()
    px = ((pixel % width).double() + 0.5) / width * 2 - 1
    py = 1 - ((pixel // width).double() + 0.5) / height * 2
    w = corners[..., 3]
    x, y = corners[..., 0] - px[:, None] * w, corners[..., 1] - py[:, None] * w
    edges = x.roll(-1, 1) * y.roll(-2, 1) - x.roll(-2, 1) * y.roll(-1, 1)
    weights = edges / edges.sum(dim=1, keepdim=True)
    deep = (weights * corners[..., 2]).sum(dim=1) / (weights * w).sum(dim=1)
    near = deep.detach() <= 1
    kept, zero = seen[near], (clip * 0).sum()
    bary = (clip.new_zeros(face.numel(), 3) + zero).index_copy(0, kept, weights[near].to(clip))
    depth = (clip.new_ones(face.numel()) + zero).index_copy(0, kept, deep[near].to(clip))
    found = torch.full_like(face.reshape(-1), -1).index_copy(0, kept, face.reshape(-1)[kept])
    return found.view_as(face), bary.view(*face.shape, 3), depth.view_as(face)
