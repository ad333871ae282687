"""A fit that is asked to stop: it ends its step, leaves its checkpoint on the disk, and goes on later to the same bits."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial

import pytest
import torch

from dreamfusion_mesh.config import FitSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.stages import fit as fitting
from dreamfusion_mesh.stages.checkpoint import CheckpointWriter
from dreamfusion_mesh.stages.fit import Fit, Halted, Hooks, State, StepLoss, Stop

STEPS = 7


def new_fit(checkpoint_seconds: float = 1e6) -> Fit:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    settings = FitSettings(steps=STEPS, checkpoint_seconds=checkpoint_seconds)
    optimizers = {"line": torch.optim.Adam(module.parameters(), lr=0.1)}
    return Fit("coarse", settings, {"line": module}, optimizers, torch.Generator().manual_seed(3), torch.device("cpu"))


def loss_of(fit: Fit, bad: tuple[int, ...] = ()) -> Callable[..., StepLoss]:
    def loss(step: int, *_: object) -> StepLoss:
        target = torch.randn(2, generator=fit.draws)
        return StepLoss((fit.modules["line"](torch.ones(3)) - target).square().sum(), step not in bad, {})

    return loss


def at(*asked: int) -> Stop:
    """True at these questions, counted from 1: after these steps."""
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count in asked

    return stop


def never_asked() -> bool:
    raise AssertionError("was asked after the last step")


def steps_of(states: list[State]) -> list[int]:
    return [int(state["fit.counts"][0]) for state in states]


@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_fit_halted_at_any_step_goes_on_to_the_same_bits(step: int) -> None:
    whole, halted, resumed, states, reported = new_fit(), new_fit(), new_fit(), [], []
    whole.run(loss_of(whole), Hooks())
    with pytest.raises(Halted, match=f"^coarse: stopped as asked, after step {step} of 7$"):
        halted.run(loss_of(halted), Hooks(save=states.append, stop=at(step), report=lambda stage, done, *_: reported.append(done)))
    assert steps_of(states) == [step]
    assert reported == list(range(1, step + 1)), "the step's figures are not lost"
    resumed.run(loss_of(resumed), Hooks(resume=states[0]))
    assert resumed.state().keys() == whole.state().keys()
    assert all(torch.equal(value, whole.state()[name]) for name, value in resumed.state().items())


def test_after_the_last_step_nothing_is_asked_or_saved() -> None:
    fit, states, asked = new_fit(), [], []
    fit.run(loss_of(fit), Hooks(save=states.append, stop=lambda: bool(asked.append(fit.done))))
    assert asked == list(range(1, STEPS))
    assert states == []


def test_a_bad_step_leaves_no_checkpoint_and_still_halts() -> None:
    fit, states = new_fit(checkpoint_seconds=0.0), []
    with pytest.raises(Halted, match="after step 4 of 7"):
        fit.run(loss_of(fit, bad=(2, 3)), Hooks(save=states.append, stop=at(4)))
    assert steps_of(states) == [1, 2], "what the next process goes on from"
    assert fit.skipped == 2
    fit = new_fit()
    with pytest.raises(Halted):
        fit.run(lambda *_: StepLoss(fit.modules["line"].weight.sum() * math.nan, True, {}), Hooks(save=never_asked, stop=at(1)))


def test_a_checkpoint_that_is_due_where_the_fit_halts_is_saved_once() -> None:
    fit, states = new_fit(checkpoint_seconds=0.0), []
    with pytest.raises(Halted):
        fit.run(loss_of(fit), Hooks(save=states.append, stop=at(2)))
    assert steps_of(states) == [1, 2]


def test_a_large_checkpoint_is_written_before_the_halt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written by a thread, which is slow here."""
    monkeypatch.setattr(fitting, "CheckpointWriter", partial(CheckpointWriter, background_bytes=0))
    begun, saved = threading.Event(), []

    def save(state: State) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert begun.wait(30)  # until the step is reported, after which nothing but the halt is left to do
        saved.append(state)

    fit = new_fit()
    with pytest.raises(Halted):
        fit.run(loss_of(fit), Hooks(save=save, stop=at(3), report=lambda stage, done, *_: begun.set() if done == 3 else None))
    assert steps_of(saved) == [3]


@pytest.mark.parametrize("background_bytes", [0, 2**25])
def test_a_checkpoint_that_cannot_be_written_is_an_error_and_no_halt(background_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "CheckpointWriter", partial(CheckpointWriter, background_bytes=background_bytes))

    def full(state: State) -> None:
        raise BadInput("checkpoints/coarse.part: no space left")

    fit = new_fit()
    with pytest.raises(BadInput, match="no space left"):
        fit.run(loss_of(fit), Hooks(save=full, stop=at(3)))
