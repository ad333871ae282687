"""What every loss is to a stage: made once, called each step, and its state a part of the stage's checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import nn

from dreamfusion_mesh.guidance.losses.distilled import Distilled
from dreamfusion_mesh.guidance.losses.step import Step


class Loss(nn.Module, ABC):
    """One stage's loss. Its buffers and parameters belong to the stage's checkpoint, as the moments of its optimisers do.

    points_side  a side of the grid of surface points that each step has to bring, 0 where the loss asks for none
    """

    points_side: int = 0

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """What trains the loss' own parameters, by name; stepped with the stage's, where the step is good, at rates that stay."""
        return {}

    @abstractmethod
    def forward(self, step: Step) -> Distilled:
        """Evaluate the model on what the step shows. Raises ValueError where the step does not fit the loss."""


class Stateless(Loss):
    """A loss that is a function of the step alone."""

    def __init__(self, evaluate: Callable[[Step], Distilled]) -> None:
        super().__init__()
        self._evaluate = evaluate

    def forward(self, step: Step) -> Distilled:
        """See Loss.forward."""
        return self._evaluate(step)
