"""Weights' matrices by Muon (Jordan et al. 2024, github.com/KellerJordan/Muon), all else by AdamW, at one learning rate.

Muon makes a step's matrix orthogonal, so that all its directions are learnt at one speed; its steps are scaled to AdamW's (Liu et al.,
arXiv:2502.16982, section 2.2). Tables of words and places, first and last convolutions, biases and gains are no such maps: AdamW's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_NOT_MATRICES = ("embed", "conv_in", "conv_out")
_MOMENTS = ("exp_avg", "exp_avg_sq")
_MOMENTUM = "momentum_buffer"
_DECAY = 0.01


class Optimiser:
    """Steps a network's parameters from their gradients. Kernels [O, I, h, w] are seen as matrices [O, I h w]."""

    def __init__(self, network: nn.Module, fused: bool) -> None:
        values = dict(network.named_parameters())
        self.matrices = {name: value for name, value in values.items() if _is_matrix(name, value)}
        self.others = {name: value for name, value in values.items() if name not in self.matrices}
        self.flat = {name: nn.Parameter(value.detach().flatten(1).clone()) for name, value in self.matrices.items()}
        self.muon = torch.optim.Muon(self.flat.values(), weight_decay=_DECAY, adjust_lr_fn="match_rms_adamw")
        self.adam = torch.optim.AdamW(self.others.values(), betas=(0.9, 0.99), weight_decay=_DECAY, fused=fused)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step at the learning rate; takes the gradients away."""
        for optimiser in (self.muon, self.adam):
            for group in optimiser.param_groups:
                group["lr"] = rate
        for name, value in self.matrices.items():
            self.flat[name].grad = None if value.grad is None else value.grad.flatten(1)
            value.grad = None
        self.muon.step()
        for name, value in self.matrices.items():
            value.copy_(self.flat[name].view_as(value))
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Every moment by the name of its parameter; for `load`."""
        moments = {f"{_MOMENTUM}.{name}": self.muon.state[flat][_MOMENTUM] for name, flat in self.flat.items() if flat in self.muon.state}
        for name, value in self.others.items():
            if value in self.adam.state:
                moments |= {f"{moment}.{name}": self.adam.state[value][moment] for moment in _MOMENTS}
        return moments

    @torch.no_grad()
    def load(self, held: Mapping[str, Tensor], step: int) -> None:
        """Take up `state` as it was after `step` steps; the network has its weights of then already."""
        for name, flat in self.flat.items():
            flat.copy_(self.matrices[name].flatten(1))
            if f"{_MOMENTUM}.{name}" in held:
                self.muon.state[flat] = {_MOMENTUM: torch.empty_like(flat).copy_(held[f"{_MOMENTUM}.{name}"])}
        for name, value in self.others.items():
            if f"{_MOMENTS[0]}.{name}" in held:
                # in the layout of the weights, which fused optimisers take for granted, and with the fused one's count beside them
                moments = {moment: torch.empty_like(value).copy_(held[f"{moment}.{name}"]) for moment in _MOMENTS}
                count = torch.tensor(float(step), device=value.device if self.adam.defaults["fused"] else "cpu")
                self.adam.state[value] = {"step": count, **moments}


def _is_matrix(name: str, value: Tensor) -> bool:
    return value.ndim > 1 and not any(word in name for word in _NOT_MATRICES)
