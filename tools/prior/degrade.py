"""What the judge's pictures suffer, so that it looks at things as they are and not at how the prior's were drawn.

Moved and scaled a little, blurred, noisy, compressed in blocks as JPEG does, brightness, contrast and tint shifted. All batched.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 8


def degrade(images: Tensor, draws: torch.Generator, strength: float = 1.0) -> Tensor:
    """Images [B, H, W, 3] in [0, 1], each spoilt in its own way; `strength` 0 leaves them as they are. H and W are multiples of 8."""
    if strength == 0:
        return images
    x = images.permute(0, 3, 1, 2)
    x = _move(x, draws, strength)
    x = _blur(x, draws, strength)
    x = _compress(x, draws, strength)
    x = _tint(x, draws, strength)
    spread = 0.06 * strength * _each(x, draws)
    x = x + spread * torch.randn(x.shape, generator=draws, device=x.device)
    return x.clamp(0, 1).permute(0, 2, 3, 1)


def _each(x: Tensor, draws: torch.Generator) -> Tensor:
    """[B, 1, 1, 1] in [0, 1)."""
    return torch.rand(len(x), 1, 1, 1, generator=draws, device=x.device)


def _move(x: Tensor, draws: torch.Generator, strength: float) -> Tensor:
    """Shifted by up to a tenth of the side, scaled by up to an eighth; what comes in at the border repeats it."""
    scale = 1 + 0.125 * strength * (2 * _each(x, draws)[:, 0, 0, 0] - 1)
    shift = 0.2 * strength * (2 * torch.rand(len(x), 2, generator=draws, device=x.device) - 1)
    flow = torch.zeros(len(x), 2, 3, device=x.device)
    flow[:, 0, 0] = flow[:, 1, 1] = scale
    flow[:, :, 2] = shift
    grid = functional.affine_grid(flow, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _blur(x: Tensor, draws: torch.Generator, strength: float) -> Tensor:
    """Mixed with its means over 3 and 5 pixels."""
    little, more = _each(x, draws) * strength, _each(x, draws) * strength
    small = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    large = functional.avg_pool2d(functional.pad(x, (2, 2, 2, 2), mode="replicate"), 5, 1)
    x = x + 0.7 * little * (small - x)
    return x + 0.6 * more * (large - x)


def _compress(x: Tensor, draws: torch.Generator, strength: float) -> Tensor:
    """The blocks' cosine coefficients, rounded to steps that grow with frequency."""
    count, channels, height, width = x.shape
    k = torch.arange(_BLOCK, device=x.device, dtype=x.dtype)
    basis = torch.cos(math.pi / _BLOCK * (k[None] + 0.5) * k[:, None]) * math.sqrt(2 / _BLOCK)
    basis[0] /= math.sqrt(2)
    blocks = x.reshape(count, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).transpose(3, 4)
    waves = basis @ blocks @ basis.T
    step = (0.12 * strength * _each(x, draws)[..., None, None] + 1e-4) * (1 + k[:, None] + k[None]) / 4
    blocks = basis.T @ ((waves / step).round() * step) @ basis
    return blocks.transpose(3, 4).reshape(x.shape)


def _tint(x: Tensor, draws: torch.Generator, strength: float) -> Tensor:
    gain = 1 + 0.15 * strength * (2 * _each(x, draws) - 1)
    tint = 0.04 * strength * (2 * torch.rand(len(x), 3, 1, 1, generator=draws, device=x.device) - 1)
    return (x - 0.5) * gain + 0.5 + tint
