"""Where a network's weights lie: on the device, or in the machine's memory, from where each layer's go to the card while it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Placement:
    """Where a model's networks compute.

    device    of all results
    by_layer  whether a large network's weights are there for one layer at a time alone
    """

    device: torch.device
    by_layer: bool = False

    def place(self, network: Any) -> Any:
        """The network, which is on the CPU, made to compute on the device."""
        if not self.by_layer or self.device.type == "cpu":
            return network.to(self.device)
        return move_by_layer(network, self.device, with_stream=self.device.type == "cuda")


def move_by_layer(network: Any, device: torch.device, with_stream: bool) -> Any:
    """The network, whose weights stay on the CPU but for those of the layer that computes, without a gradient, on `device`.

    with_stream: whether the next layer's weights are copied while one computes, from memory that is pinned for that.
    Source: https://huggingface.co/docs/diffusers/optimization/memory#group-offloading
    """
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(network, device, torch.device("cpu"), offload_type="leaf_level", use_stream=with_stream)
    return network
