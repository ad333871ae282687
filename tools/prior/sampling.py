"""Images drawn from a prior: DDIM (Song et al., arXiv:2010.02502) with classifier-free guidance (Ho and Salimans, arXiv:2207.12598)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.guidance.multiview import camera_numbers
from tools.prior import tokens
from tools.prior.model import TIMES, Prior, alpha_bar
from tools.prior.runs import half_pays


@torch.no_grad()
def sample(
    prior: Prior, texts: Sequence[str], seed: int, scale: float = 3.0, steps: int = 40, batch: int = 128, angles: Tensor | None = None
) -> Tensor:
    """[len(texts), 64, 64, 3] in [0, 1] on the CPU: one image a text, the first noise drawn on the CPU from `seed`.

    With angles [len(texts), 2], cameras' azimuths and elevations in radians, each four texts in a row are seen together from there.
    `batch` is a multiple of four.
    """
    draws, shares = torch.Generator().manual_seed(seed), alpha_bar()
    side, channels = 64 // prior.size.patch, 3 * prior.size.patch**2
    device = next(prior.parameters()).device
    made = []
    for first in range(0, len(texts), batch):
        words = list(texts[first : first + batch])
        start = torch.randn(len(words), channels, side, side, generator=draws).to(device)
        told = None if angles is None else camera_numbers(*angles[first : first + batch].unbind(1)).to(device)
        made.append(prior.unfold(_denoise(prior, start, words, told, shares, scale, steps)).cpu())
    return torch.cat(made)


def _denoise(prior: Prior, noisy: Tensor, words: list[str], told: Tensor | None, shares: Tensor, scale: float, steps: int) -> Tensor:
    more = () if told is None else (torch.cat((told, told)), MULTIVIEW)
    ids = tokens.encode(["" for _ in words] + words).to(noisy.device)
    times = torch.linspace(TIMES - 1, 0, steps).round().long().tolist()
    for t, following in zip(times, [*times[1:], -1], strict=True):
        at = torch.full((2 * len(words),), t, device=noisy.device)
        with torch.autocast(noisy.device.type, torch.bfloat16, enabled=half_pays(noisy.device)):
            uncond, worded = prior(torch.cat((noisy, noisy)), at, ids, *more).float().chunk(2)
        left, next_left = float(shares[t]), float(shares[following]) if following >= 0 else 1.0
        clean = uncond + scale * (worded - uncond)
        clean = clean.clamp(-1, 1)
        noise = (noisy - left**0.5 * clean) / (1 - left) ** 0.5
        noisy = next_left**0.5 * clean + (1 - next_left) ** 0.5 * noise
    return noisy
