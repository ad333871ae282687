"""Images drawn from a prior: DDIM (Song et al., arXiv:2010.02502), guided as score distillation is (guidance/sds.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.guidance.multiview import camera_numbers
from dreamfusion_mesh.guidance.sds import guide
from tools.prior import tokens
from tools.prior.captions import opposite
from tools.prior.model import TIMES, Prior, alpha_bar
from tools.prior.runs import half_pays


@torch.no_grad()
def sample(
    prior: Prior,
    texts: Sequence[str],
    seed: int,
    scale: float = 3.0,
    steps: int = 40,
    batch: int = 128,
    angles: Tensor | None = None,
    perp_neg: float = 0.0,
) -> Tensor:
    """[len(texts), 64, 64, 3] in [0, 1] on the CPU: one image a text, the first noise drawn on the CPU from `seed`.

    With angles [len(texts), 2], cameras' azimuths and elevations in radians, each four texts in a row are seen together from there.
    `batch` is a multiple of four; scale and perp_neg are as in `guide`, away from what is seen from half a turn further.
    """
    draws, shares = torch.Generator().manual_seed(seed), alpha_bar()
    side, channels = 64 // prior.size.patch, 3 * prior.size.patch**2
    device = next(prior.parameters()).device
    made = []
    for first in range(0, len(texts), batch):
        words = list(texts[first : first + batch])
        start = torch.randn(len(words), channels, side, side, generator=draws).to(device)
        asked = [["" for _ in words], words, [opposite(text) for text in words]][: 3 if perp_neg else 2]
        told = None
        if angles is not None:
            azimuth, elevation = angles[first : first + batch].unbind(1)
            told = torch.cat([camera_numbers(azimuth + turn, elevation) for turn in (0.0, 0.0, math.pi)[: len(asked)]]).to(device)
        ids = tokens.encode([text for texts in asked for text in texts]).to(device)
        made.append(prior.unfold(_denoise(prior, start, ids, told, shares, steps, scale, perp_neg)).cpu())
    return torch.cat(made)


def _denoise(
    prior: Prior, noisy: Tensor, ids: Tensor, told: Tensor | None, shares: Tensor, steps: int, scale: float, perp_neg: float
) -> Tensor:
    """ids [2 B, L] or [3 B, L]: no words, the words, and those from behind; cameras likewise."""
    many, more = len(ids) // len(noisy), () if told is None else (told, MULTIVIEW)
    times = torch.linspace(TIMES - 1, 0, steps).round().long().tolist()
    for t, following in zip(times, [*times[1:], -1], strict=True):
        at = torch.full((len(ids),), t, device=noisy.device)
        with torch.autocast(noisy.device.type, torch.bfloat16, enabled=half_pays(noisy.device)):
            uncond, worded, *behind = prior(noisy.repeat(many, 1, 1, 1), at, ids, *more).float().chunk(many)
        left, next_left = float(shares[t]), float(shares[following]) if following >= 0 else 1.0
        clean = guide(uncond, worded, scale, behind[0] if behind else None, perp_neg).clamp(-1, 1)
        noise = (noisy - left**0.5 * clean) / (1 - left) ** 0.5
        noisy = next_left**0.5 * clean + (1 - next_left) ** 0.5 * noise
    return noisy
