"""What one step of guidance gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Distilled:
    """One step of guidance, by whatever loss.

    loss      scalar with its graph; zero, with zero gradient, where `finite` is False
    t         [B] int64    the times drawn; empty where the loss draws none
    finite    whether the model's answers were, all of them; where one was not, the caller skips the step
    residual  how far the views are from what the model wants to see: the unweighted root mean square of what the loss takes for
              eps_hat - eps, or 1 - mean cosine
    training  by name: scalars whose gradient reaches the loss' own parameters alone; empty where it has none, or where `finite` is False
    """

    loss: Tensor
    t: Tensor
    finite: bool
    residual: float
    training: Mapping[str, Tensor] = field(default_factory=dict)


def with_gradient(
    latents: Tensor, gradient: Tensor, residual: Tensor, t: Tensor, training: Mapping[str, Tensor] | None = None
) -> Distilled:
    """A loss whose gradient in `latents` [B, N values] is gradient / (B N), a mean over values; `gradient` and `residual` are like them."""
    size, steepness = (float(each.square().mean().sqrt()) for each in (residual, gradient))
    trained = dict(training or {})
    finite = all(map(math.isfinite, (size, steepness, *(float(term.detach()) for term in trained.values()))))
    kept = gradient.detach() if finite else torch.zeros_like(latents)
    return Distilled((kept * latents).sum() / latents.numel(), t, finite, size, trained if finite else {})
