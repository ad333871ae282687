"""Which triangle each pixel's centre sees, where on it, and what the corners' values are there; with exact first derivatives.

Coverage is decided in float64 from edge functions in clip space, so a shared edge gives each centre to exactly one side, and triangles that
reach behind the camera need no clipping. Nearest is kept as one 63-bit key a pixel (depth, then face) under a minimum, which no order of
evaluation can change: on the CPU a thread owns bands of rows; on CUDA faces run side by side, large ones queued for many threads each,
and the minimum is atomic.
Scatters are deterministic on the CPU (a slot of pixels adds in order into a buffer of its own, buffers are summed in order); CUDA adds
atomically. Pixel (row r, column c) has its centre at x = (c + 0.5) / W * 2 - 1, y = 1 - (r + 0.5) / H * 2 of x / w and y / w.
Arguments are taken as checked: see render/raster/backend.py.
"""

import math
from typing import Any

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels.launch import as_warp, launch, threads
from dreamfusion_mesh.kernels.raster_resolve_warp import kernels
from dreamfusion_mesh.kernels.raster_warp import EMPTY, cover, cover_queued, cover_small

_SLOTS = 8  # buffers that a scatter adds into on the CPU; fixed, so that sums do not depend on the number of cores
_LARGEST, _LANES, _TEAMS = 64, 128, 1024  # on CUDA: pixels that one thread draws of a face; threads that share a larger one; such groups


def rasterize(clip: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """face [B, H, W] int64 (-1 none), bary [B, H, W, 3] and depth [B, H, W] of `clip` [B, V, 4], differentiable in `clip`; faces [F, 3].

    Source: Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates".
    """
    face, bary, depth = _Rasterize.apply(clip, faces, height, width)
    return face, bary, depth


def interpolate(attributes: Tensor, bary: Tensor, face: Tensor, faces: Tensor) -> Tensor:
    """[B, H, W, C]: the corners' `attributes` [1 or B, V, C] weighted by `bary`, zero where `face` is -1; differentiable in those two."""
    result: Tensor = _Interpolate.apply(attributes, bary, face, faces)
    return result


def to_pixel_space(clip: Tensor, height: int, width: int) -> Tensor:
    """[B, V, 4] float64 without gradients: x and y in pixels times w, y downwards; z and w as they are."""
    x, y, z, w = clip.detach().double().unbind(dim=-1)
    return torch.stack(((x + w) * (width / 2), (w - y) * (height / 2), z, w), dim=-1)


def units(count: int, views: int, device: torch.device) -> tuple[int, int]:
    """How work on `count` faces or edges is cut: bands of rows, and items that one index takes in turn."""
    if device.type == "cuda":
        return 1, 1
    return threads() // math.gcd(threads(), views), count


def find_nearest(projected: Tensor, faces: Tensor, height: int, width: int, side_by_side: bool) -> Tensor:
    """[B * H * W] int64: each pixel's least key.

    projected     [B, V, 4] float64, of `to_pixel_space`; faces [F, 3]
    side_by_side  CUDA's algorithm, else the CPU's
    """
    views, count, device = len(projected), len(faces), projected.device
    keys = torch.full((views * height * width,), EMPTY, dtype=torch.int64, device=device)
    given = [as_warp(projected, wp.vec4d), as_warp(faces.contiguous(), wp.vec3l), height, width]
    if side_by_side:
        queue = torch.empty(views * count, dtype=torch.int32, device=device)
        queued = torch.zeros(1, dtype=torch.int32, device=device)
        waiting = [as_warp(queue, wp.int32), as_warp(queued, wp.int32)]
        work = views * count
        launch(cover_small, work, [*given, _LARGEST, as_warp(keys, wp.int64), *waiting], device, smallest_slice=work)
        work = _LANES * _TEAMS
        launch(cover_queued, work, [*given, _LANES, _TEAMS, *waiting, as_warp(keys, wp.int64)], device, smallest_slice=work)
        return keys
    bands, chunk = units(count, views, device)
    work = views * bands * math.ceil(count / chunk)
    launch(cover, work, [*given, bands, chunk, as_warp(keys, wp.int64)], device, smallest_slice=1)
    return keys


def real_of(tensor: Tensor) -> Any:
    """Warp's name for a tensor's precision."""
    return wp.float64 if tensor.dtype == torch.float64 else wp.float32


def _row(real: Any, length: int) -> Any:
    return wp.types.vector(length=length, dtype=real)


def _slot(views: int, height: int, width: int, device: torch.device) -> int:
    """Pixels that add into one buffer: a view's, or on the CPU an even share of its rows where there are few views."""
    parts = 1 if device.type == "cuda" else max(1, _SLOTS // views)
    while height % parts:
        parts -= 1
    return height // parts * width


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clip: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        views, real = clip.shape[0], real_of(clip)
        face = torch.empty(views, height, width, dtype=torch.int64, device=clip.device)
        bary, depth = clip.new_empty(views, height, width, 3), clip.new_empty(views, height, width)
        ctx.set_materialize_grads(True)
        ctx.mark_non_differentiable(face)
        ctx.size = (height, width)
        ctx.save_for_backward(clip, faces, face)
        if face.numel() == 0 or faces.numel() == 0:
            return face.fill_(-1), bary.zero_(), depth.fill_(1)
        projected = to_pixel_space(clip, height, width)
        keys = as_warp(find_nearest(projected, faces, height, width, clip.is_cuda), wp.int64)
        vertices, triangles = as_warp(projected, wp.vec4d), as_warp(faces.contiguous(), wp.vec3l)
        made = [as_warp(face.view(-1), wp.int64), as_warp(bary.view(-1, 3), _row(real, 3)), as_warp(depth.view(-1), real)]
        launch(kernels(real)["resolve"], face.numel(), [vertices, triangles, keys, height, width, *made], clip.device)
        return face, bary, depth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, _: Tensor, in_bary: Tensor, in_depth: Tensor) -> tuple[Tensor, None, None, None]:
        clip, faces, face = ctx.saved_tensors
        height, width = ctx.size
        if face.numel() == 0 or faces.numel() == 0:
            return torch.zeros_like(clip), None, None, None
        real, slot = real_of(clip), _slot(len(clip), height, width, clip.device)
        made = clip.new_zeros(face.numel() // slot, clip.shape[1], 4)
        arguments = [
            as_warp(to_pixel_space(clip, height, width), wp.vec4d),
            as_warp(faces.contiguous(), wp.vec3l),
            as_warp(face.view(-1), wp.int64),
            height,
            width,
            as_warp(in_bary.contiguous().view(-1, 3), _row(real, 3)),
            as_warp(in_depth.contiguous().view(-1), real),
            slot,
            as_warp(made, _row(real, 4)),
        ]
        launch(kernels(real)["resolve_adjoint"], face.numel(), arguments, clip.device, granule=slot)
        return made.view(len(clip), -1, *made.shape[1:]).sum(dim=1), None, None, None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, bary: Tensor, face: Tensor, faces: Tensor) -> Tensor:
        ctx.save_for_backward(attributes, bary, face, faces)
        made = attributes.new_empty(*face.shape, attributes.shape[2])
        if made.numel() == 0 or faces.numel() == 0:
            return made.zero_()
        real = real_of(attributes)
        size = face.shape[1] * face.shape[2]
        arguments = [*_given(attributes, bary, face, faces), size, as_warp(made.view(face.numel(), -1), real)]
        launch(kernels(real)["blend_corners"], face.numel(), arguments, face.device)
        return made

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:
        attributes, bary, face, faces = ctx.saved_tensors
        in_bary = torch.empty_like(bary, memory_format=torch.contiguous_format)
        if upstream.numel() == 0 or faces.numel() == 0:
            return torch.zeros_like(attributes), in_bary.zero_(), None, None
        real = real_of(attributes)
        views, height, width = face.shape
        slot = _slot(views, height, width, face.device)
        made = attributes.new_zeros(face.numel() // slot, *attributes.shape[1:])
        arguments = [
            *_given(attributes, bary, face, faces),
            height * width,
            as_warp(upstream.contiguous().view(face.numel(), -1), real),
            slot,
            as_warp(made, real),
            as_warp(in_bary.view(-1, 3), _row(real, 3)),
        ]
        launch(kernels(real)["blend_corners_adjoint"], face.numel(), arguments, face.device, granule=slot)
        return made.view(len(attributes), -1, *made.shape[1:]).sum(dim=1), in_bary, None, None


def _given(attributes: Tensor, bary: Tensor, face: Tensor, faces: Tensor) -> list[Any]:
    real = real_of(attributes)
    return [
        as_warp(attributes.contiguous(), real),
        as_warp(faces.contiguous(), wp.vec3l),
        as_warp(face.contiguous().view(-1), wp.int64),
        as_warp(bary.contiguous().view(-1, 3), _row(real, 3)),
    ]
