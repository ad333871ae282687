"""What one step of guidance gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Distilled:
    """One step of guidance, by whatever loss.

    loss      scalar with its graph; zero, with zero gradient, where `finite` is False
    t         [B] int64    the times drawn; empty where the loss draws none
    finite    whether the model's answer was; where it was not, the caller skips the step
    residual  how far the views are from what the model wants to see: the unweighted root mean square of eps_hat - eps, or 1 - mean cosine
    """

    loss: Tensor
    t: Tensor
    finite: bool
    residual: float
