"""A network's calls on a card are recorded and replayed: the values are those of calls, for each shape and variant, and stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.guidance.models.recorded import RecordedCalls, recorded_calls

NEEDS_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Scaled:
    """Counts how often the host runs it."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor, self.calls = factor, 0

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * x + y.sum()


def test_calls_are_recorded_on_a_card_alone(device: torch.device) -> None:
    small = torch.nn.Linear(4, 4)
    assert (recorded_calls(small, device) is not None) == (device.type == "cuda")


def test_a_large_network_is_called() -> None:
    large = torch.nn.Linear(2**13, 2**13 + 1, device="meta")
    assert recorded_calls(large, torch.device("cuda")) is None


@NEEDS_CARD
def test_cuda_replays_give_what_calls_give_without_the_hosts_work() -> None:
    network, recorded = Scaled(), RecordedCalls()
    draws = torch.Generator("cuda").manual_seed(0)
    given = [[torch.rand(3, 2, generator=draws, device="cuda") for _ in range(2)] for _ in range(5)]
    found = [recorded(network, pair) for pair in given]
    calls = network.calls
    assert calls < len(given)
    for pair, made in zip(given, found, strict=True):
        torch.testing.assert_close(made, Scaled()(*pair))
    recorded(network, [part[:1] for part in given[0]])
    assert network.calls > calls, "another shape is another recording"


@NEEDS_CARD
def test_cuda_recordings_of_one_shape_are_told_apart_by_their_variant_and_given_up_for_newer_ones() -> None:
    recorded, pair = RecordedCalls(), [torch.ones(2, device="cuda"), torch.ones(1, device="cuda")]
    for factor in (2.0, 3.0, 4.0, 2.0):
        assert recorded(Scaled(factor), pair, factor).tolist() == [factor + 1] * 2
    assert len(recorded._recordings) == 2
