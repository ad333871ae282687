"""Images drawn from a prior: DDIM (Song et al., arXiv:2010.02502), guided as score distillation is (guidance/answers.py)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.guidance.answers import guide
from dreamfusion_mesh.guidance.models.multiview import camera_numbers, contrast_view, contrast_view_in_group
from tools.prior import tokens
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
    `batch` is a multiple of four; scale and perp_neg are as in `guide`, the latter away from another view, for texts that all name theirs.
    """
    draws, shares = torch.Generator().manual_seed(seed), alpha_bar()
    side, channels = 64 // prior.size.patch, 3 * prior.size.patch**2
    device = next(prior.parameters()).device
    made = []
    for first in range(0, len(texts), batch):
        ids = tokens.encode(texts[first : first + batch]).to(device)
        told = None if angles is None else camera_numbers(*angles[first : first + batch].unbind(1)).to(device)
        noisy = torch.randn(len(ids), channels, side, side, generator=draws).to(device)
        times = torch.linspace(TIMES - 1, 0, steps).round().long().tolist()
        for t, following in zip(times, [*times[1:], -1], strict=True):
            clean = _guided(prior, noisy, torch.full((len(ids),), t, device=device), ids, told, scale, perp_neg).clamp(-1, 1)
            left, next_left = float(shares[t]), float(shares[following]) if following >= 0 else 1.0
            noise = (noisy - left**0.5 * clean) / (1 - left) ** 0.5
            noisy = next_left**0.5 * clean + (1 - next_left) ** 0.5 * noise
        made.append(prior.unfold(noisy).cpu())
    return torch.cat(made)


def _guided(prior: Prior, noisy: Tensor, t: Tensor, ids: Tensor, told: Tensor | None, scale: float, perp_neg: float) -> Tensor:
    """The clean image guessed: without words, with them and, for Perp-Neg, as another view has it."""
    said, cameras = [tokens.encode([""]).to(ids.device).expand_as(ids), ids], [told, told]
    if perp_neg and told is not None:
        order = contrast_view_in_group(t, MULTIVIEW)
        said.append(ids[order])
        cameras.append(told[order])
    elif perp_neg:
        views, own = tokens.turn_views(ids)
        said.append(views[torch.arange(len(ids), device=ids.device), contrast_view(own, t, views.shape[1])])
    more = () if told is None else (torch.cat(cameras), MULTIVIEW)
    with torch.autocast(noisy.device.type, torch.bfloat16, enabled=half_pays(noisy.device)):
        answers = prior(noisy.repeat(len(said), 1, 1, 1), t.repeat(len(said)), torch.cat(said), *more)
    uncond, worded, *others = answers.float().chunk(len(said))
    return guide(uncond, worded, scale, others, perp_neg)
