"""From values at texels to maps: a probe evaluated at the surface points of a texture, averaged texel by texel, and the finished images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.gutter import fill
from dreamfusion_mesh.asset.bake.texels import Texels
from dreamfusion_mesh.contracts import Probe
from dreamfusion_mesh.errors import PoorOutcome
from dreamfusion_mesh.records import ColorSpace, TextureMap, linear_to_srgb, srgb_to_linear
from dreamfusion_mesh.records.material import ROLES

_POINTS = 1 << 20  # evaluated at once
_CONTRAST = 4 / 255  # between two texels, above which they are sampled more finely


@torch.no_grad()
def bake_values(texels: Texels, probe: Probe, channels: int, color_space: ColorSpace, supersample: int = 1) -> Tensor:
    """[K, channels] the values of `probe`, which are in `color_space`, at the texels; outside [0, 1] they are clamped.

    A texel whose value differs by more than 4/255 from one beside, above or below it is the mean of supersample^2 samples, sRGB in linear
    light; where values change by less, its centre is as good.
    Raises ValueError where the probe gives another shape, PoorOutcome where it gives NaN or infinity.
    """
    values = _evaluate(probe, texels.points, channels)
    if supersample == 1:
        return values
    offsets = [(step + 0.5) / supersample - 0.5 for step in range(supersample)]
    for part in _busy(texels, values).split(_POINTS):
        total = torch.zeros(len(part), channels, device=values.device)
        for down in offsets:
            for right in offsets:
                moved = texels.points[part] + right * texels.across[part, 0] + down * texels.across[part, 1]
                sample = _evaluate(probe, moved, channels)
                total += srgb_to_linear(sample) if color_space == "srgb" else sample
        mean = total / supersample**2
        values[part] = linear_to_srgb(mean) if color_space == "srgb" else mean
    return values


def _busy(texels: Texels, values: Tensor) -> Tensor:
    """Rows of the texels that differ from one beside, above or below them by more than the contrast allowed, in any channel."""
    known, image = texels.known(), texels.image(values)
    busy = torch.zeros_like(known)
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differ = ((image[one] - image[other]).abs().amax(dim=2) > _CONTRAST) & known[one] & known[other]
        busy[one] |= differ
        busy[other] |= differ
    return busy.view(-1)[texels.rows].nonzero()[:, 0]


def _evaluate(probe: Probe, points: Tensor, channels: int) -> Tensor:
    """[N, channels] values in [0, 1], in chunks."""
    values = torch.cat([probe(part).float() for part in points.split(_POINTS)])
    if values.shape != (len(points), channels):
        raise ValueError(f"bake: the probe gave shape {list(values.shape)} for {len(points)} points, expected {[len(points), channels]}")
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).any(dim=1).sum())
        raise PoorOutcome("diverged", f"bake: the field is not finite at {bad} of {len(points)} points of the surface")
    return values.clamp(0, 1)


def to_maps(texels: Texels, values: Mapping[str, Tensor]) -> dict[str, TextureMap]:
    """Maps by their role, of values [K, C] in [0, 1]; the texels between the charts are filled."""
    flat = {role: texels.image(torch.round(value.clamp(0, 1) * 255).to(torch.uint8)) for role, value in values.items()}
    filled = fill([image.cpu().numpy() for image in flat.values()], texels.known().cpu().numpy())
    return {role: TextureMap(image, ROLES[role].color_space) for role, image in zip(flat, filled, strict=True)}
