"""Images through an autoencoder where memory is short: one after the other, or each in tiles; of itself where it runs out.

Source: the tiles overlap and are blended as in diffusers' AutoencoderKL, which however keeps all tiles' activations for the gradient; here
each tile is encoded once more for it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dreamfusion_mesh.guidance.models.latents import LatentSpace
from dreamfusion_mesh.out_of_memory import describe

TILED_FROM = 1024  # pixels a side, on small cards
SMALL_CARD = 32 * 2**30  # bytes; of Stable Diffusion's autoencoder, one image of 1024 takes about 12 GiB in half precision
TILE, _OVERLAP = 512, 128  # pixels a side of a tile, about, and of what it shares with the next one

_log = logging.getLogger(__name__)
_Encode = Callable[[Tensor], Tensor]


@dataclass
class Shortage:
    """Whether memory ran out in a call for all images at once: of the network, or of the autoencoder."""

    met: bool = False
    met_encoding: bool = False


def encoded(pixels: Tensor, latents: LatentSpace, shortage: Shortage, one_by_one: bool, tiles: bool) -> Tensor:
    """Latents [B, C, h, h] of pixels [B, 3, S, S] in [-1, 1]; differentiable in these.

    one_by_one  whether the activations of one image alone are there, which is encoded once more for its gradient
    tiles       whether these are of one tile of an image alone
    Where memory runs out, in the call or in its gradient, images go one by one from then on.
    """
    if latents.vae is None:
        return latents.encode(pixels)
    if tiles:
        return torch.cat([_in_tiles(one, latents, TILE, _OVERLAP) for one in pixels.split(1)])
    differentiated = pixels.requires_grad and torch.is_grad_enabled()
    if not shortage.met_encoding and not (one_by_one and differentiated):
        try:
            return _whole(pixels, latents.encode, shortage) if differentiated else latents.encode(pixels)
        except Exception as error:
            if describe(error) is None or len(pixels) == 1:
                raise
        _note(shortage, len(pixels))  # behind the except, whose error holds what the call had made
    return torch.cat([_recomputed(latents.encode, one) for one in pixels.split(1)])


def wants_tiles(setting: str, size: int, latents: LatentSpace, device: torch.device) -> bool:
    """Whether images of `size` pixels a side are encoded in tiles, by `guidance.tile_encoder` or, where that is auto, on a small card."""
    return latents.vae is not None and tiles_by(setting, size, latents.is_tiny, device)


def tiles_by(setting: str, size: int, tiny: bool, device: torch.device) -> bool:
    """`wants_tiles` of an autoencoder that is a tiny one or not."""
    if setting != "auto":
        return setting == "always"
    large = size >= TILED_FROM and not tiny
    return large and device.type == "cuda" and torch.cuda.get_device_properties(device).total_memory < SMALL_CARD


def _whole(pixels: Tensor, encode: _Encode, shortage: Shortage) -> Tensor:
    made: Tensor = _Whole.apply(pixels, encode, shortage)
    return made


class _Whole(torch.autograd.Function):
    """All images at once; where memory runs out in the gradient, it is found for one image after the other."""

    @staticmethod
    def forward(context: Any, pixels: Tensor, encode: _Encode, shortage: Shortage) -> Tensor:
        context.encode, context.shortage = encode, shortage
        with torch.enable_grad():
            given = pixels.detach().requires_grad_()
            made = encode(given.view_as(given))  # torch's counter of FLOPs takes no leaf of a graph as a module's input
        context.given, context.made = given, made
        return made.detach()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        given, made = context.given, context.made
        context.made = None  # so that what it holds can be let go
        try:
            (found,) = torch.autograd.grad(made, given, gradient)
            return found, None, None
        except Exception as error:
            if describe(error) is None or len(given) == 1:
                raise
        del made
        _note(context.shortage, len(given))
        parts = [_gradient(context.encode, one, wanted) for one, wanted in zip(given.split(1), gradient.split(1), strict=True)]
        return torch.cat(parts), None, None


def _gradient(encode: _Encode, one: Tensor, wanted: Tensor) -> Tensor:
    with torch.enable_grad():
        given = one.detach().requires_grad_()
        (found,) = torch.autograd.grad(encode(given), given, wanted)
    return found


def _note(shortage: Shortage, count: int) -> None:
    shortage.met_encoding = True
    _log.warning("guidance: the memory does not hold %d images in one call of the autoencoder; one after the other from here", count)


def _recomputed(encode: _Encode, given: Tensor) -> Tensor:
    if not given.requires_grad:
        return encode(given)
    made: Tensor = checkpoint(encode, given, use_reentrant=False, preserve_rng_state=False)
    return made


def _in_tiles(pixels: Tensor, latents: LatentSpace, tile: int, overlap: int) -> Tensor:
    """Latents of images, the mean of overlapping tiles whose weights fall linearly to nothing at their edges."""
    side, scale = pixels.shape[-1] // latents.scale, latents.scale
    width, starts = tile_starts(side, max(tile // scale, 1), overlap // scale)
    ramp = (torch.arange(width, device=pixels.device) + 0.5).to(pixels.dtype)
    ramp = (torch.minimum(ramp, width - ramp) / max(overlap // scale, 1)).clamp(max=1)
    window = ramp[:, None] * ramp
    total, weight = pixels.new_zeros(len(pixels), latents.channels, side, side), pixels.new_zeros(side, side)
    for row, column in ((row, column) for row in starts for column in starts):
        place = (..., slice(row, row + width), slice(column, column + width))
        cut = pixels[..., row * scale : (row + width) * scale, column * scale : (column + width) * scale]
        total[place] += window * _recomputed(latents.encode, cut)
        weight[place] += window
    return total / weight


def tile_starts(side: int, tile: int, overlap: int) -> tuple[int, list[int]]:
    """How wide tiles are, about `tile`, and where they begin, so that equal ones cover `side` and share `overlap` at least."""
    count = math.ceil(side / tile)
    if count < 2:
        return side, [0]
    width = min(math.ceil((side + (count - 1) * overlap) / count), side)
    return width, [(side - width) * index // (count - 1) for index in range(count)]
