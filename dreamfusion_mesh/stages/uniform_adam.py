"""Adam with one step size for a whole tensor, for gradients that are smoothed first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class UniformAdam(torch.optim.Optimizer):
    """Adam (arXiv:1412.6980) whose second moment is a mean over the tensor's elements that ever had a gradient.

    Adam divides each element's step by its own gradients' size, and so undoes any smoothing of them, and makes whole steps of a weak
    regulariser where nothing else pulls. Source: Nicolet et al., "Large Steps in Inverse Rendering of Geometry", 2021, section 3.3,
    where the greatest element counts: that one is an outlier of score distillation's noise.

    smooth  gradient -> gradient of the same shape
    """

    def __init__(
        self, parameter: torch.nn.Parameter, lr: float, smooth: Callable[[Tensor], Tensor], betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        super().__init__([parameter], {"lr": lr, "betas": betas})
        self._smooth = smooth

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], *group["betas"])

    def _move(self, parameter: Tensor, rate: float, keep: float, keep_squares: float) -> None:
        gradient, state = self._smooth(parameter.grad), self.state[parameter]  # type: ignore[arg-type]
        if not state:
            state.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
        state["step"] += 1
        average = state["exp_avg"].lerp_(gradient, 1 - keep)
        squares = state["exp_avg_sq"].mul_(keep_squares).addcmul_(gradient, gradient, value=1 - keep_squares)
        done = float(state["step"])
        touched = (squares > 0).sum().clamp_min(1)
        size = (squares.sum() / touched / (1 - keep_squares**done)).sqrt()
        parameter.sub_(average / size.clamp_min(torch.finfo(size.dtype).tiny), alpha=rate / (1 - keep**done))
