"""What Dream Fields puts behind a transparent object, so that it does not lean on a background (arXiv:2112.01455, section 3.3).

Everything is drawn on the CPU, and as many numbers whatever is drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.config import Span

_SQUARES = 8  # along a side of the checkerboard
_SPREAD, _DECAY = 0.2, 1.5  # of the Fourier texture: its amplitude, and the power by which that falls with the frequency
_COLORS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))  # how natural images' channels go together


def random_backgrounds(count: int, side: int, blur: Span, draws: torch.Generator) -> Tensor:
    """[count, side, side, 3] in [0, 1]: noise, a checkerboard or a Fourier texture, as often each, blurred.

    blur  standard deviations to draw from, in sides
    """
    kinds = torch.stack([noise(count, side, draws), checkerboard(count, side, draws), fourier_texture(count, side, draws)])
    picked = kinds[torch.randint(len(kinds), (count,), generator=draws), torch.arange(count)]
    return gaussian_blur(picked, side * (blur[0] + (blur[1] - blur[0]) * torch.rand(count, generator=draws)))


def noise(count: int, side: int, draws: torch.Generator) -> Tensor:
    """[count, side, side, 3], uniform in [0, 1)."""
    return torch.rand(count, side, side, 3, generator=draws)


def checkerboard(count: int, side: int, draws: torch.Generator) -> Tensor:
    """[count, side, side, 3] of 8 x 8 squares in two colours."""
    colors = torch.rand(count, 2, 1, 1, 3, generator=draws)
    row = torch.arange(side) * _SQUARES // side
    odd = ((row[:, None] + row[None]) % 2).bool()[None, :, :, None]
    return torch.where(odd, colors[:, 1], colors[:, 0])


def fourier_texture(count: int, side: int, draws: torch.Generator) -> Tensor:
    """[count, side, side, 3] in (0, 1): smooth, coloured as natural images are.

    Source: Mordvintsev et al., Differentiable Image Parameterizations, Distill 2018, the section on transparency.
    """
    frequency = (torch.fft.fftfreq(side)[:, None].square() + torch.fft.rfftfreq(side)[None].square()).sqrt()
    amplitude = _SPREAD * side / frequency.clamp_min(1 / side) ** _DECAY
    real, imaginary = torch.randn(2, count, 3, *frequency.shape, generator=draws) * amplitude
    waves = torch.fft.irfft2(torch.complex(real, imaginary), s=(side, side)) / 4
    mixed = torch.tensor(_COLORS)
    mixed = mixed / mixed.norm(dim=0).max()
    return torch.sigmoid(torch.einsum("bchw,dc->bhwd", waves, mixed))


def gaussian_blur(images: Tensor, deviations: Tensor) -> Tensor:
    """[B, H, H, 3], each blurred by its own standard deviation of `deviations` [B] in pixels; at the edge the weights add up to 1, too."""
    place = torch.arange(images.shape[1])
    squares = (place[:, None] - place[None]).square() / (2 * deviations.clamp_min(1e-3).square())[:, None, None]
    weights = torch.softmax(-squares, dim=2)
    rows = (weights @ images.flatten(2)).unflatten(2, images.shape[2:])
    return (weights[:, None] @ rows).clamp(0, 1)
