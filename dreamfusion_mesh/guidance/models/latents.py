"""Between images and what a U-Net sees: pixels folded into channels, or a VAE's latents."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional


def encoded(images: Tensor, vae: Any | None, patch: int, size: int) -> Tensor:
    """Images [B, H, H, 3] in [0, 1] to [B, C, h, h]: averaged down or stretched up to `size`, to [-1, 1], folded or encoded.

    vae    of a latent model, of which the mean is taken; None of a pixel-space model
    patch  pixels a side that a pixel-space model folds into its channels
    Differentiable. Raises ValueError where the images are not square RGB.
    """
    if images.dim() != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images: shape {list(images.shape)}, expected [B, H, H, 3]")
    pixels = 2 * _resize(images.permute(0, 3, 1, 2), size) - 1
    if vae is None:
        return functional.pixel_unshuffle(pixels, patch)
    mean: Tensor = vae.encode(pixels).latent_dist.mean
    return (mean - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor


def decoded(latents: Tensor, vae: Any | None, patch: int) -> Tensor:
    """What `encoded` gives [B, C, h, h] back to images [B, H, H, 3], clipped to [0, 1]."""
    if vae is None:
        pixels = functional.pixel_shuffle(latents, patch)
    else:
        pixels = vae.decode(latents / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)).sample
    return ((pixels.permute(0, 2, 3, 1) + 1) / 2).clamp(0, 1)


def _resize(pixels: Tensor, size: int) -> Tensor:
    """[B, C, H, H] to [B, C, size, size]: means of areas when shrinking, bilinear when growing."""
    side = pixels.shape[-1]
    if side == size:
        return pixels
    if side % size == 0:
        return functional.avg_pool2d(pixels, side // size)
    if side > size:
        return functional.interpolate(pixels, size=(size, size), mode="area")
    return functional.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
