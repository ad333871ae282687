"""A LoRA on the attention of a network, by peft (extra [vsd]): Hu et al., arXiv:2106.09685."""

from __future__ import annotations

import copy
import importlib.util
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.float16 import GradientScale
from dreamfusion_mesh.records import Views
from dreamfusion_mesh.records.diffusion import Answers

REMEDY = 'pip install "dreamfusion-mesh[vsd]"'


class LowRank(nn.Module):
    """A network with a LoRA, whose weights are the module's only state; the network's own are shared, and stay.

    layers  names of the linear layers that get one
    answer  (the network with the LoRA, noisy [B, ...], t [B] int64, views) -> what it predicts
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        rank: int,
        draws: torch.Generator,
        answer: Callable[[nn.Module, Tensor, Tensor, Views], Answers],
    ) -> None:
        super().__init__()
        copied = shared_copy(network)
        added = add_lora(copied, layers, rank, draws)
        self.weights = nn.ParameterDict({name.replace(".", "-"): parameter for name, parameter in added.items()})
        self._scale = GradientScale() if next(iter(network.parameters())).dtype == torch.float16 else None
        if self._scale is not None:
            for parameter in added.values():
                self._scale.restore(parameter)
        self._answer, self._network = answer, (copied,)  # in a tuple it is no part of this module's state

    def forward(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """See AdaptableModel.adapter."""
        answers = self._answer(self._network[0], noisy, t, views)
        if self._scale is not None and answers.text.requires_grad:
            self._scale.enlarge(answers.text)
        return answers


def check_peft() -> None:
    """Raises BadInput where peft, which the loss vsd needs, is missing. Does not import it."""
    if importlib.util.find_spec("peft") is None:
        raise BadInput(f"guidance.loss vsd: needs the package peft, which is not installed; install it with {REMEDY}, or use another loss")


def shared_copy(network: nn.Module) -> nn.Module:
    """The same modules anew over the same weights, so that layers can be put around the copy's alone."""
    return copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


def add_lora(network: nn.Module, layers: Sequence[str], rank: int, draws: torch.Generator) -> dict[str, nn.Parameter]:
    """Put a LoRA on the `layers` of each attention of `network`, in place, and give its float32 weights by name.

    At first it changes nothing. draws, on the CPU, give A, uniform as peft has it; B is zero. All else of the network is frozen.
    """
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers)), network)
    added = {name: parameter for name, parameter in network.named_parameters() if ".lora_" in name}
    for name, parameter in added.items():
        parameter.data = parameter.data.float()
        if ".lora_A." in name:
            bound = 1 / math.sqrt(parameter.shape[1])
            parameter.data.copy_(_uniform(parameter, draws) * bound)
    return added


def _uniform(like: Tensor, draws: torch.Generator) -> Tensor:
    """Numbers in [-1, 1), drawn on the CPU."""
    return 2 * torch.rand(like.shape, generator=draws) - 1
