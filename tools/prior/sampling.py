"""Images drawn from a prior by DDIM (guidance/sampler.py), guided as score distillation is (guidance/answers.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.guidance.answers import guide
from dreamfusion_mesh.guidance.models.multiview import camera_numbers, contrast_view, contrast_view_in_group
from dreamfusion_mesh.guidance.sampler import sample as draw_images
from dreamfusion_mesh.guidance.schedule import variance_preserving
from tools.prior import tokens
from tools.prior.model import Prior, alpha_bar
from tools.prior.runs import fastest_dtype, mixed_precision


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
    dtype: torch.dtype | None = None,
) -> Tensor:
    """[len(texts), 64, 64, 3] in [0, 1] on the CPU: one image a text, the first noise drawn on the CPU from `seed`.

    With angles [len(texts), 2], cameras' azimuths and elevations in radians, each four texts in a row are seen together from there.
    `batch` is a multiple of four; scale and perp_neg are as in `guide`, the latter away from another view, for texts that all name theirs.
    dtype is that of matrix products, as in `Run`.
    """
    draws, schedule = torch.Generator().manual_seed(seed), variance_preserving(alpha_bar())
    side, channels = 64 // prior.size.patch, 3 * prior.size.patch**2
    device = next(prior.parameters()).device
    schedule = schedule.to(device)
    products = fastest_dtype(device) if dtype is None else dtype

    def network(*inputs: Any) -> Tensor:
        with mixed_precision(device, products):
            return prior(*inputs).float()

    made = []
    for first in range(0, len(texts), batch):
        ids = tokens.encode(texts[first : first + batch]).to(device)
        cameras = None if angles is None else camera_numbers(*angles[first : first + batch].unbind(1)).to(device)
        noisy = torch.randn(len(ids), channels, side, side, generator=draws).to(device)

        def clean(noisy: Tensor, t: int, ids: Tensor = ids, cameras: Tensor | None = cameras) -> Tensor:
            at = torch.full((len(ids),), t, device=device)
            return _guided(network, noisy, at, ids, cameras, scale, perp_neg).clamp(-1, 1)

        noisy = draw_images(noisy, clean, schedule, steps)
        made.append(prior.unfold(noisy).cpu())
    return torch.cat(made)


def _guided(
    network: Callable[..., Tensor], noisy: Tensor, t: Tensor, ids: Tensor, cameras: Tensor | None, scale: float, perp_neg: float
) -> Tensor:
    """The clean image guessed: without words, with them and, for Perp-Neg, as another view has it."""
    text_conditions, camera_conditions = [tokens.encode([""]).to(ids.device).expand_as(ids), ids], [cameras, cameras]
    if perp_neg and cameras is not None:
        order = contrast_view_in_group(t, MULTIVIEW)
        text_conditions.append(ids[order])
        camera_conditions.append(cameras[order])
    elif perp_neg:
        views, own = tokens.turn_views(ids)
        text_conditions.append(views[torch.arange(len(ids), device=ids.device), contrast_view(own, t, views.shape[1])])
    more = () if cameras is None else (torch.cat(camera_conditions), MULTIVIEW)
    answers = network(noisy.repeat(len(text_conditions), 1, 1, 1), t.repeat(len(text_conditions)), torch.cat(text_conditions), *more)
    uncond, with_text, *others = answers.chunk(len(text_conditions))
    return guide(uncond, with_text, scale, others, perp_neg)
