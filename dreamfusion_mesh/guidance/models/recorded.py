"""Calls of a small network, recorded once on a card and replayed: hundreds of kernels are then started as one.

At the sizes of score distillation the host takes ten times as long to start a small U-Net's kernels as the card takes to run them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_LARGEST = 2**28  # bytes of weights; a network above keeps the card busy by itself, and a recording would hold its memory
_MOST = 2  # recordings at once: those of a run's two stages
_WARM_UPS = 2  # calls before the recording, in which libraries choose their kernels and take their memory


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    given: list[Tensor]
    made: Tensor


class RecordedCalls:
    """The calls of one frozen network, by the shapes of what it is given; each shape is recorded when it first comes."""

    def __init__(self) -> None:
        self._recordings: dict[Hashable, _Recording] = {}

    @torch.no_grad()
    def __call__(self, call: Callable[..., Tensor], given: Sequence[Tensor], variant: Hashable = None) -> Tensor:
        """What `call(*given)` returns, for CUDA tensors `given`.

        variant  tells calls on the same shapes apart: for one of them the host has to take the same way each time
        """
        key = (variant, *((value.shape, value.dtype, value.device) for value in given))
        if key not in self._recordings:
            while len(self._recordings) >= _MOST:
                self._recordings.pop(next(iter(self._recordings)))
            self._recordings[key] = _record(call, given)
        recording = self._recordings[key]
        for place, value in zip(recording.given, given, strict=True):
            place.copy_(value)
        recording.graph.replay()
        return recording.made.clone()


def recorded_calls(network: torch.nn.Module, device: torch.device) -> RecordedCalls | None:
    """None where `network` is better called: off a card, or where it is large."""
    size = sum(weight.nbytes for weight in network.parameters())
    return RecordedCalls() if device.type == "cuda" and size <= _LARGEST else None


def _record(call: Callable[..., Tensor], given: Sequence[Tensor]) -> _Recording:
    """Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs"""
    places = [value.clone(memory_format=torch.contiguous_format) for value in given]
    device = places[0].device
    aside = torch.cuda.Stream(device)
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            call(*places)
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = call(*places)
    return _Recording(graph, places, made)
