"""All of a training run in one safetensors file: weights, their average, the optimiser's moments and the step."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tools.prior.files import write_tensors

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Average:
    """Exponential moving average of a network's parameters, slow to start."""

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.keep = keep
        self.values = {name: value.detach().clone() for name, value in network.named_parameters()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """After optimiser step `step`, from 1."""
        keep = min(self.keep, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), [value for _, value in network.named_parameters()], 1 - keep)

    def put_into(self, network: nn.Module) -> None:
        """Overwrite a network's parameters."""
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_(self.values[name])


def save(file: Path, network: nn.Module, average: Average, optimiser: torch.optim.AdamW, step: int) -> None:
    """Written whole or not at all."""
    tensors: dict[str, Tensor] = {"step": torch.tensor(step)}
    for name, value in network.named_parameters():
        tensors[f"network.{name}"] = value
        tensors[f"average.{name}"] = average.values[name]
        for moment in _MOMENTS:
            if value in optimiser.state:
                tensors[f"{moment}.{name}"] = optimiser.state[value][moment]
    write_tensors(tensors, file)


def load(file: Path, network: nn.Module, average: Average, optimiser: torch.optim.AdamW) -> int:
    """Fill all from `save`'s file; the step it was saved after. Raises KeyError where the network has other parameters."""
    from safetensors.torch import load_file

    held = load_file(str(file))
    step = int(held["step"])
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(held[f"network.{name}"])
            average.values[name].copy_(held[f"average.{name}"])
            if f"{_MOMENTS[0]}.{name}" in held:
                # in the layout of the weights, which fused optimisers take for granted
                moments = {moment: torch.empty_like(value).copy_(held[f"{moment}.{name}"]) for moment in _MOMENTS}
                optimiser.state[value] = {"step": torch.tensor(float(step), device=_steps_on(optimiser, value)), **moments}
    return step


def _steps_on(optimiser: torch.optim.AdamW, value: Tensor) -> torch.device:
    """Where the optimiser counts its steps: the fused one beside the weights, the others on the CPU."""
    return value.device if optimiser.defaults.get("fused") else torch.device("cpu")
