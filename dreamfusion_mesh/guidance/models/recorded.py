"""Calls of a small network, recorded once on a card and replayed: hundreds of kernels are then started as one.

At the sizes of score distillation the host takes ten times as long to start a small U-Net's kernels as the card takes to run them.
A replay reads the memory that the recording read, whatever has become of it, so all that it depends on is part of what tells recordings
apart, and each is compared with a call before it is used.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamfusion_mesh.guidance.models.placement import Placement

_LARGEST = 2**28  # bytes of weights; a network above keeps the card busy by itself, and a recording would hold its memory
_MOST = 2  # recordings at once: those of a run's two stages
_WARM_UPS = 2  # calls before the recording, in which libraries choose their kernels and take their memory
_TOLERANCE = 0.01  # of the largest value, between a replay and a call: half precision, summed in another order, stays far below

_log = logging.getLogger(__name__)


class Recording(NamedTuple):
    """A graph that reads `given` and writes `made`, always in the same memory."""

    graph: Any
    given: list[Tensor]
    made: Tensor

    def replay(self, given: Sequence[Tensor]) -> Tensor:
        """What the recorded call makes of `given`."""
        for place, value in zip(self.given, given, strict=True):
            place.copy_(value)
        self.graph.replay()
        return self.made.clone()


class RecordedCalls:
    """The calls of one network, by the shapes of what it is given; each shape is recorded when it first comes.

    The network's weights may be moved or changed in place, not replaced by other tensors, and it has no hooks that act outside of the card.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network
        self._weights = [*network.parameters(), *network.buffers()]  # listed once: to walk the modules takes as long as a replay
        self._recordings: dict[Hashable, Recording | None] = {}
        self._lock = threading.Lock()

    @torch.no_grad()
    def __call__(self, call: Callable[..., Tensor], given: Sequence[Tensor], variant: Hashable = None) -> Tensor:
        """What `call(*given)` returns, for CUDA tensors `given`, without a gradient.

        variant  tells calls on the same shapes apart: for one of them the host has to take the same way each time
        """
        with self._lock:  # the recording's memory is one for all threads
            key = (variant, *((value.shape, value.dtype, value.device) for value in given), *self._state(given[0].device))
            if key not in self._recordings:
                while len(self._recordings) >= _MOST:
                    self._recordings.pop(next(iter(self._recordings)))
                self._recordings[key] = _checked(record(call, given), call, given)
            recording = self._recordings[key]
            return call(*given) if recording is None else recording.replay(given)

    def _state(self, device: torch.device) -> tuple[Hashable, ...]:
        """Where the weights lie, how the network and the host would compute now, and on which of the card's queues."""
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None
        autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
        return tuple(weight.data_ptr() for weight in self._weights), self._network.training, autocast, stream


def recorded_calls(network: torch.nn.Module, placement: Placement) -> RecordedCalls | None:
    """None where `network` is better called: off a card, where its weights come and go, or where it is large."""
    size = sum(weight.nbytes for weight in network.parameters())
    stays = placement.device.type == "cuda" and not placement.by_layer
    return RecordedCalls(network) if stays and size <= _LARGEST else None


def record(call: Callable[..., Tensor], given: Sequence[Tensor]) -> Recording:
    """The call with all it is given set to zero, so that a replay that does not follow what it is given shows.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """
    places = [torch.zeros_like(value, memory_format=torch.contiguous_format) for value in given]
    device = places[0].device
    aside = torch.cuda.Stream(device)
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            call(*places)
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # On its own stream: torch's default one belongs to the card that first recorded, and would record nothing of another card's work.
    with torch.cuda.device(device), torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
        made = call(*places)
    return Recording(graph, places, made)


def _checked(recording: Recording, call: Callable[..., Tensor], given: Sequence[Tensor]) -> Recording | None:
    """The recording; None, with a warning, where its replay is not what the call gives."""
    found, wanted = recording.replay(given).float(), call(*given).float()
    if torch.allclose(found, wanted, rtol=0, atol=_TOLERANCE * float(wanted.nan_to_num().abs().max()), equal_nan=True):
        return recording
    _log.warning("guidance: a recording of the U-Net on %s does not give what its call gives; it is called instead", found.device)
    return None
