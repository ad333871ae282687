"""Smooth silhouettes, and with them gradients that move geometry.

Follows the idea of Laine et al. 2020 (arXiv:2011.03277, section 3.6): where a silhouette edge passes between the centres of two adjacent
pixels, the two share their values by where it passes. Differs in how the edge is found: not among the edges of the face that a pixel sees,
but by walking every silhouette edge over the pairs that it crosses, so faces smaller than a pixel lose no silhouette.

    silhouette   an edge whose faces all lie on one side of it in the picture (a boundary, or a fold)
    choice       the edge must lie before what the uncovered pixel sees; among several the one that covers most
    direction    an edge nearer to vertical blends horizontal pairs, the others vertical ones: each piece of the outline counts once
    share        the pixel whose half of the segment the other's value reaches into takes that part over; a pixel's shares sum to at most 1
Arguments are taken as checked: see render/raster/backend.py.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels.antialias_blend_warp import EVERY_TURN, TURNS, kernels
from dreamfusion_mesh.kernels.antialias_warp import cross
from dreamfusion_mesh.kernels.launch import as_warp, launch
from dreamfusion_mesh.kernels.raster import real_of, to_pixel_space, units


@dataclass(frozen=True, eq=False)
class MeshEdges:
    """A mesh's undirected edges and the corners that face them.

    ends      [E, 2] int64      smaller vertex first
    starts    [E + 1] int64     edge k is faced by opposite[starts[k] : starts[k + 1]]
    opposite  [3 F] int64       vertices
    """

    ends: Tensor
    starts: Tensor
    opposite: Tensor


def find_edges(faces: Tensor, vertices: int) -> MeshEdges:
    """Edges of faces [F, 3] int64 below `vertices`; any number of faces may share one."""
    tail, head = faces.roll(-1, dims=1).reshape(-1), faces.roll(-2, dims=1).reshape(-1)
    keys, order = torch.sort(torch.minimum(tail, head) * vertices + torch.maximum(tail, head))
    distinct, counts = torch.unique_consecutive(keys, return_counts=True)
    ends = torch.stack((distinct // max(1, vertices), distinct % max(1, vertices)), dim=1)
    starts = torch.cat((counts.new_zeros(1), counts.cumsum(dim=0)))
    return MeshEdges(ends, starts, faces.reshape(-1)[order])


def antialias(image: Tensor, face: Tensor, clip: Tensor, faces: Tensor, edges: MeshEdges) -> Tensor:
    """`image` [B, H, W, C] with its silhouettes blended; differentiable in `image` and `clip` [B, V, 4] (in clip almost everywhere).

    face [B, H, W] int64 as rasterized from `clip` and `faces`. Source: arXiv:2011.03277, section 3.6.
    """
    result: Tensor = _Antialias.apply(image, face, clip, faces, edges)
    return result


def find_pairs(face: Tensor, clip: Tensor, faces: Tensor, edges: MeshEdges) -> tuple[Tensor, Tensor]:
    """Pairs that a silhouette edge crosses, and their keys: [N] int64 each, in the pixels' order."""
    views, height, width = face.shape
    keys = torch.full((face.numel() * 2,), -1, dtype=torch.int64, device=face.device)
    bands, chunk = units(len(edges.ends), views, face.device)
    arguments = [
        as_warp(to_pixel_space(clip, height, width), wp.vec4d),
        as_warp(faces.contiguous(), wp.vec3l),
        as_warp(edges.ends, wp.vec2l),
        as_warp(edges.starts, wp.int64),
        as_warp(edges.opposite, wp.int64),
        as_warp(face.contiguous(), wp.int64),
        bands,
        chunk,
        as_warp(keys, wp.int64),
    ]
    launch(cross, views * bands * math.ceil(len(edges.ends) / chunk), arguments, face.device, smallest_slice=1)
    touched = (keys >= 0).nonzero()[:, 0]  # few, so the direction is looked up for them alone
    found = keys[touched]
    steep = found & 1 == 1
    return touched[steep], found[steep]


def _in_order(kernel: Any, count: int, arguments: list[Any], device: torch.device) -> None:
    """Several pairs add to one pixel or vertex: on the CPU one thread adds, so that sums are the same each time."""
    launch(kernel, count, arguments, device, smallest_slice=max(1, count))


def _in_turns(kernel: Any, count: int, arguments: list[Any], device: torch.device) -> None:
    """One launch for each neighbour that a pixel takes from: no two indices of a launch add to one pixel, so that their order is free."""
    for turn in range(TURNS):
        _in_order(kernel, count, [*arguments, turn], device)


def blend_pairs(
    image: Tensor, clip: Tensor, edges: MeshEdges, pairs: Tensor, keys: Tensor, side_by_side: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The blended image, each pair's shift [N] float64 of the boundary off the middle, and each pixel's sum of shares [B * H * W].

    side_by_side  CUDA's algorithm: the same bits, whatever the order in which pairs are worked on; else the CPU's, in the pairs' order
    """
    _, height, width, _ = image.shape
    real, device, pixels = real_of(image), image.device, image[..., 0].numel()
    made = image.clone(memory_format=torch.contiguous_format)
    shifts, totals = torch.empty(len(pairs), dtype=torch.float64, device=device), image.new_zeros(pixels)
    if len(pairs) == 0:
        return made, shifts, totals
    projected, ends = as_warp(to_pixel_space(clip, height, width), wp.vec4d), as_warp(edges.ends, wp.vec2l)
    listed, measured, sums = as_warp(pairs, wp.int64), as_warp(shifts, wp.float64), as_warp(totals, real)
    launch(kernels(real)["measure"], len(pairs), [projected, ends, listed, as_warp(keys, wp.int64), height, width, measured], device)
    flat = [as_warp(part.view(pixels, -1), real) for part in (image.contiguous(), made)]
    for kernel, arguments in (("add_shares", [listed, measured, sums, width]), ("mix", [listed, measured, sums, width, *flat])):
        if side_by_side:
            _in_turns(kernels(real)[kernel], len(pairs), arguments, device)
        else:
            _in_order(kernels(real)[kernel], len(pairs), [*arguments, EVERY_TURN], device)
    return made, shifts, totals


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, face: Tensor, clip: Tensor, faces: Tensor, edges: MeshEdges) -> Tensor:
        ctx.empty = image.numel() == 0 or faces.numel() == 0
        if ctx.empty:
            ctx.save_for_backward(image, clip)
            return image.clone(memory_format=torch.contiguous_format)
        pairs, keys = find_pairs(face, clip, faces, edges)
        made, shifts, totals = blend_pairs(image, clip, edges, pairs, keys, side_by_side=image.is_cuda)
        ctx.edges = edges
        ctx.save_for_backward(image, clip, pairs, keys, shifts, totals)
        return made

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, Tensor, None, None]:
        image, clip, *found = ctx.saved_tensors
        in_image = upstream.clone(memory_format=torch.contiguous_format)
        in_clip = torch.zeros_like(clip, memory_format=torch.contiguous_format)
        if ctx.empty or len(found[0]) == 0:
            return in_image, None, in_clip, None, None
        pairs, keys, shifts, totals = found
        _, height, width, _ = image.shape
        real, device = real_of(image), image.device
        in_weights, spent = image.new_empty(len(pairs)), torch.zeros_like(totals)
        listed, shares = as_warp(pairs, wp.int64), [as_warp(shifts, wp.float64), as_warp(totals, real)]
        flat = [as_warp(part.view(len(totals), -1), real) for part in (image.contiguous(), upstream.contiguous(), in_image)]
        parts = [as_warp(in_weights, real), as_warp(spent, real)]
        _in_order(kernels(real)["mix_adjoint"], len(pairs), [listed, *shares, width, *flat, *parts], device)
        projected, ends = as_warp(to_pixel_space(clip, height, width), wp.vec4d), as_warp(ctx.edges.ends, wp.vec2l)
        made = as_warp(in_clip, wp.types.vector(length=4, dtype=real))
        arguments = [projected, ends, listed, as_warp(keys, wp.int64), *shares, *parts, height, width, made]
        _in_order(kernels(real)["measure_adjoint"], len(pairs), arguments, device)
        return in_image, None, in_clip, None, None
