"""Bake a map: a probe evaluated at the surface points of a texture, averaged texel by texel."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.gutter import fill
from dreamfusion_mesh.asset.bake.texels import Texels
from dreamfusion_mesh.contracts import Probe
from dreamfusion_mesh.errors import PoorOutcome
from dreamfusion_mesh.records import ColorSpace, TextureMap, linear_to_srgb, srgb_to_linear

_POINTS = 1 << 20  # evaluated at once


@torch.no_grad()
def bake_map(texels: Texels, probe: Probe, channels: int, color_space: ColorSpace) -> TextureMap:
    """The map [S, S, channels] of the values of `probe`, which are in `color_space`, at the surface points of `texels`.

    The samples of a texel are averaged over those that the mesh covers, sRGB in linear light. The gutter's texels have one sample each;
    farther ones repeat the nearest. Values outside [0, 1] are clamped.
    Raises ValueError where the probe gives another shape, PoorOutcome where it gives NaN or infinity.
    """
    size, side = texels.size, texels.supersample
    values = torch.zeros(size, size, channels, device=texels.covered.device)
    for band in texels.bands():
        samples = torch.zeros(*band.covered.shape, channels, device=values.device)
        samples[band.covered] = _evaluate(probe, band.points, channels, color_space)
        rows = band.covered.shape[0] // side
        count = band.covered.view(rows, side, size, side).sum(dim=(1, 3))
        total = samples.view(rows, side, size, side, channels).sum(dim=(1, 3))
        values[band.top : band.top + rows] = total / count.clamp_min(1)[..., None]
    known = texels.covered.clone()
    if len(texels.gutter):
        row, column = texels.gutter.unbind(1)
        values[row, column] = _evaluate(probe, texels.gutter_points, channels, color_space)
        known[row, column] = True
    return to_image(linear_to_srgb(values) if color_space == "srgb" else values, known, color_space)


def _evaluate(probe: Probe, points: Tensor, channels: int, color_space: ColorSpace) -> Tensor:
    """[N, channels] values in [0, 1], in chunks; linear light where they are sRGB."""
    values = torch.cat([probe(part).float() for part in points.split(_POINTS)])
    if values.shape != (len(points), channels):
        raise ValueError(f"bake: the probe gave shape {list(values.shape)} for {len(points)} points, expected {[len(points), channels]}")
    bad = int((~torch.isfinite(values)).any(dim=1).sum())
    if bad:
        raise PoorOutcome("diverged", f"bake: the field is not finite at {bad} of {len(points)} points of the surface")
    values = values.clamp(0, 1)
    return srgb_to_linear(values) if color_space == "srgb" else values


def to_image(values: Tensor, known: Tensor, color_space: ColorSpace) -> TextureMap:
    """The map of `values` [S, S, C] in [0, 1], whose texels that are not `known` [S, S] bool repeat the nearest one."""
    pixels = torch.round(values.clamp(0, 1) * 255).to(torch.uint8)
    return TextureMap(fill(pixels.cpu().numpy(), known.cpu().numpy()), color_space)
