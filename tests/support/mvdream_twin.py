"""MVDream's U-Net once more, as plain functions over its published tensors: what ours has to predict.

Written from the description: residual blocks around an embedding of the time to which the camera's is added, and transformers whose
self-attention takes the views of an object as one sequence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = Mapping[str, Tensor]


class Twin:
    """The network of `tensors` and MVDream's parameters `params`; `views` images in a row show one object."""

    def __init__(self, tensors: Tensors, params: Mapping[str, Any], views: int) -> None:
        self.tensors, self.params, self.views = tensors, params, views

    def __call__(self, noisy: Tensor, t: Tensor, words: Tensor, cameras: Tensor | None) -> Tensor:
        """The prediction [B, 4, h, h] at noisy [B, 4, h, h], t [B], words [B, L, D] and cameras [B, 16]."""
        time = self._mlp("time_embed", _waves(t, self.params["model_channels"]))
        time = time if cameras is None else time + self._mlp("camera_embed", cameras)
        blocks = len({name.split(".")[1] for name in self.tensors if name.startswith("input_blocks")})
        hidden, kept = noisy, []
        for place in range(blocks):
            hidden = self._block(f"input_blocks.{place}", hidden, time, words)
            kept.append(hidden)
        hidden = self._block("middle_block", hidden, time, words)
        for place in range(blocks):
            hidden = self._block(f"output_blocks.{place}", torch.cat((hidden, kept.pop()), dim=1), time, words)
        return self._convolve("out.2", F.silu(self._group_norm("out.0", hidden, 1e-5)))

    def _block(self, name: str, hidden: Tensor, time: Tensor, words: Tensor) -> Tensor:
        for place in range(3):
            part = f"{name}.{place}"
            if f"{part}.in_layers.0.weight" in self.tensors:
                hidden = self._residual(part, hidden, time)
            elif f"{part}.proj_in.weight" in self.tensors:
                hidden = self._transformer(part, hidden, words)
            elif f"{part}.op.weight" in self.tensors:
                hidden = self._convolve(f"{part}.op", hidden, stride=2)
            elif f"{part}.conv.weight" in self.tensors:
                hidden = self._convolve(f"{part}.conv", F.interpolate(hidden, scale_factor=2, mode="nearest"))
            elif f"{part}.weight" in self.tensors:
                hidden = self._convolve(part, hidden)
        return hidden

    def _residual(self, name: str, given: Tensor, time: Tensor) -> Tensor:
        hidden = self._convolve(f"{name}.in_layers.2", F.silu(self._group_norm(f"{name}.in_layers.0", given, 1e-5)))
        hidden = hidden + self._linear(f"{name}.emb_layers.1", F.silu(time))[:, :, None, None]
        hidden = self._convolve(f"{name}.out_layers.3", F.silu(self._group_norm(f"{name}.out_layers.0", hidden, 1e-5)))
        return hidden + (self._convolve(f"{name}.skip_connection", given) if f"{name}.skip_connection.weight" in self.tensors else given)

    def _transformer(self, name: str, given: Tensor, words: Tensor) -> Tensor:
        hidden = self._linear(f"{name}.proj_in", self._group_norm(f"{name}.norm", given, 1e-6).flatten(2).mT)
        for place in range(self.params["transformer_depth"]):
            block = f"{name}.transformer_blocks.{place}"
            joined = hidden.unflatten(0, (-1, self.views)).flatten(1, 2)
            seen = self._layer_norm(f"{block}.norm1", joined)
            hidden = (joined + self._attend(f"{block}.attn1", seen, seen)).unflatten(1, (self.views, -1)).flatten(0, 1)
            hidden = hidden + self._attend(f"{block}.attn2", self._layer_norm(f"{block}.norm2", hidden), words)
            value, gate = self._linear(f"{block}.ff.net.0.proj", self._layer_norm(f"{block}.norm3", hidden)).chunk(2, dim=-1)
            hidden = hidden + self._linear(f"{block}.ff.net.2", value * F.gelu(gate))
        return given + self._linear(f"{name}.proj_out", hidden).mT.reshape(given.shape)

    def _attend(self, name: str, asking: Tensor, asked: Tensor) -> Tensor:
        wide = self.params["num_head_channels"]
        query, key, value = (
            self._linear(f"{name}.{kind}", given).unflatten(-1, (-1, wide)).transpose(1, 2)
            for kind, given in (("to_q", asking), ("to_k", asked), ("to_v", asked))
        )
        share = (query @ key.mT / math.sqrt(wide)).softmax(-1)
        return self._linear(f"{name}.to_out.0", (share @ value).transpose(1, 2).flatten(2))

    def _mlp(self, name: str, given: Tensor) -> Tensor:
        return self._linear(f"{name}.2", F.silu(self._linear(f"{name}.0", given)))

    def _linear(self, name: str, given: Tensor) -> Tensor:
        return F.linear(given, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def _convolve(self, name: str, given: Tensor, stride: int = 1) -> Tensor:
        weight = self.tensors[f"{name}.weight"]
        return F.conv2d(given, weight, self.tensors[f"{name}.bias"], stride, weight.shape[-1] // 2)

    def _group_norm(self, name: str, given: Tensor, least: float) -> Tensor:
        return F.group_norm(given, 32, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], least)

    def _layer_norm(self, name: str, given: Tensor) -> Tensor:
        return F.layer_norm(given, given.shape[-1:], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])


def _waves(t: Tensor, width: int) -> Tensor:
    """The embedding of the time: cosines first, then sines, of frequencies from 1 down to 1/10000."""
    angles = t[:, None] * torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2))
    return torch.cat((angles.cos(), angles.sin()), dim=1)
