"""All of a training run in one safetensors file: weights, their average, the optimiser's moments and the step."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tools.prior.files import write_tensors
from tools.prior.optimiser import Optimiser


def values_of(network: nn.Module) -> dict[str, Tensor]:
    """By name: parameters, and what else is learnt, such as a normalisation's running means; not counters or places."""
    return dict(network.named_parameters()) | {name: value for name, value in network.named_buffers() if value.is_floating_point()}


class Average:
    """Exponential moving average of a network's values, slow to start."""

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.keep = keep
        self.values = {name: value.detach().clone() for name, value in values_of(network).items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """After optimiser step `step`, from 1."""
        keep = min(self.keep, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), list(values_of(network).values()), 1 - keep)

    def put_into(self, network: nn.Module) -> None:
        """Overwrite a network's values."""
        with torch.no_grad():
            for name, value in values_of(network).items():
                value.copy_(self.values[name])


def save(file: Path, network: nn.Module, average: Average, optimiser: Optimiser, step: int) -> None:
    """Written whole or not at all."""
    tensors: dict[str, Tensor] = {"step": torch.tensor(step), **optimiser.state()}
    for name, value in values_of(network).items():
        tensors[f"network.{name}"] = value
        tensors[f"average.{name}"] = average.values[name]
    write_tensors(tensors, file)


def load(file: Path, network: nn.Module, average: Average, optimiser: Optimiser) -> int:
    """Fill all from `save`'s file; the step it was saved after. Raises KeyError where the network has other values."""
    from safetensors.torch import load_file

    held = load_file(str(file))
    with torch.no_grad():
        for name, value in values_of(network).items():
            value.copy_(held[f"network.{name}"])
            average.values[name].copy_(held[f"average.{name}"])
    step = int(held["step"])
    optimiser.load(held, step)
    return step
