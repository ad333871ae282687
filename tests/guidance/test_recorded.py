"""A network's calls on a card are recorded and replayed: the values are those of calls, for each shape and variant, and stay."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.guidance.models import recorded as module
from dreamfusion_mesh.guidance.models.placement import Placement
from dreamfusion_mesh.guidance.models.recorded import RecordedCalls, Recording, recorded_calls

NEEDS_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Scaled(torch.nn.Module):
    """Counts how often the host runs it."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.factor, self.calls = torch.nn.Parameter(torch.tensor(factor)), 0

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * x + y.sum()


class Replayed:
    """Stands for a graph on the CPU: computes as the network was when it was recorded, into the same memory."""

    def __init__(self, network: Scaled, given: list[Tensor], made: Tensor, stale: bool) -> None:
        self.network, self.given, self.made, self.stale = copy.deepcopy(network), given, made, stale

    def replay(self) -> None:
        if not self.stale:
            self.made.copy_(self.network(*self.given))


def without_card(monkeypatch: pytest.MonkeyPatch, stale: bool = False) -> list[Recording]:
    """Record on the CPU; gives what was recorded. A stale recording keeps the values that it was made with."""
    found: list[Recording] = []

    def record(call: Callable[..., Tensor], given: Sequence[Tensor]) -> Recording:
        assert isinstance(call, Scaled)
        places = [torch.zeros_like(value) for value in given]
        made = call(*places)
        found.append(Recording(Replayed(call, places, made, stale), places, made))
        return found[-1]

    monkeypatch.setattr(module, "record", record)
    return found


def pair(value: float) -> list[Tensor]:
    return [torch.full((2,), value), torch.ones(1)]


@torch.no_grad()
def test_each_replay_follows_what_it_is_given_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    made = without_card(monkeypatch)
    network = Scaled()
    calls = RecordedCalls(network)
    found = [calls(network, pair(value)) for value in (1.0, 2.0, 3.0)]
    assert [values.tolist() for values in found] == [[3.0] * 2, [5.0] * 2, [7.0] * 2]
    assert len(made) == 1


@torch.no_grad()
@pytest.mark.parametrize("change", ["weights", "training", "autocast", "shape", "kind"])
def test_what_a_recording_depends_on_makes_another_one(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = without_card(monkeypatch)
    network = Scaled()
    calls = RecordedCalls(network)
    calls(network, pair(1.0))
    given = pair(1.0)
    if change == "weights":  # as a move to another device and back does
        network.factor.data = torch.tensor(5.0)
    elif change == "training":
        network.eval()
    elif change == "shape":
        given = [torch.ones(3), torch.ones(1)]
    elif change == "kind":
        given = [value.double() for value in given]
    with torch.autocast("cpu", enabled=change == "autocast"):
        assert calls(network, given).unique().tolist() == [6.0 if change == "weights" else 3.0]
    assert len(made) == 2


@torch.no_grad()
def test_a_recording_that_does_not_follow_what_it_is_given_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = without_card(monkeypatch, stale=True)
    network = Scaled()
    calls = RecordedCalls(network)
    with caplog.at_level(logging.WARNING):
        assert [calls(network, pair(value)).tolist() for value in (1.0, 2.0)] == [[3.0] * 2, [5.0] * 2]
    assert len(made) == len(caplog.records) == 1
    assert "does not give what its call gives" in caplog.text


def test_calls_are_recorded_on_a_card_alone(device: torch.device) -> None:
    small = torch.nn.Linear(4, 4)
    assert (recorded_calls(small, Placement(device)) is not None) == (device.type == "cuda")


def test_a_large_network_is_called() -> None:
    large = torch.nn.Linear(2**13, 2**13 + 1, device="meta")
    assert recorded_calls(large, Placement(torch.device("cuda"))) is None


@NEEDS_CARD
def test_cuda_replays_give_what_calls_give_without_the_hosts_work() -> None:
    network = Scaled().cuda()
    recorded = RecordedCalls(network)
    draws = torch.Generator("cuda").manual_seed(0)
    given = [[torch.rand(3, 2, generator=draws, device="cuda") for _ in range(2)] for _ in range(6)]
    found = [recorded(network, values) for values in given]
    calls = network.calls
    assert calls < len(given)
    for values, made in zip(given, found, strict=True):
        torch.testing.assert_close(made, Scaled().cuda()(*values))
    recorded(network, [part[:1] for part in given[0]])
    assert network.calls > calls, "another shape is another recording"


@NEEDS_CARD
def test_cuda_replays_follow_weights_that_are_changed_or_moved() -> None:
    network = Scaled().cuda()
    recorded, given = RecordedCalls(network), [value.cuda() for value in pair(1.0)]
    assert recorded(network, given).tolist() == [3.0] * 2
    with torch.no_grad():
        network.factor.fill_(4.0)
    assert recorded(network, given).tolist() == [5.0] * 2
    network.cpu()
    taken = torch.full((64,), 9.0, device="cuda")  # the memory that the weights had
    network.cuda()
    assert recorded(network, given).tolist() == [5.0] * 2
    assert taken[0] == 9


@NEEDS_CARD
def test_cuda_recordings_of_one_shape_are_told_apart_by_their_variant_and_given_up_for_newer_ones() -> None:
    given = [torch.ones(2, device="cuda"), torch.ones(1, device="cuda")]
    recorded, networks = RecordedCalls(torch.nn.Identity()), {factor: Scaled(factor).cuda() for factor in (2.0, 3.0, 4.0)}
    for factor in (2.0, 3.0, 4.0, 2.0):
        assert recorded(networks[factor], given, factor).tolist() == [factor + 1] * 2
    assert len(recorded._recordings) == 2
