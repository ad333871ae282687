"""Large states are written by a thread, one at a time, and nothing that goes wrong there is lost."""

import threading
from collections.abc import Callable

import pytest
import torch

from dreamfusion_mesh.config import FitSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.stages.checkpoint import CheckpointWriter, State, module_state
from dreamfusion_mesh.stages.fit import Fit, Hooks, StepLoss

PATIENCE = 30.0  # seconds after which a wait that should end at once has failed


def state(value: int) -> State:
    return {"value": torch.tensor([value])}


class SlowDisk:
    """Takes a state when it is let, and remembers which thread brought it."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.written, self.threads = threading.Event(), threading.Event(), [], []

    def save(self, given: State) -> None:
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        self.written.append(int(given["value"]))
        self.threads.append(threading.current_thread())


def full_disk(given: State) -> None:
    raise BadInput("checkpoints/coarse.part: no space left")


def test_small_states_are_written_at_once() -> None:
    disk = SlowDisk()
    disk.may_end.set()
    with CheckpointWriter(disk.save) as writer:
        writer.put(state(1))
        assert disk.written == [1]
    assert disk.threads == [threading.current_thread()]


def test_the_stage_goes_on_while_a_large_state_is_written_and_leaving_waits_for_it() -> None:
    disk = SlowDisk()
    with CheckpointWriter(disk.save, background_bytes=0) as writer:
        writer.put(state(1))
        assert disk.begun.wait(PATIENCE)
        assert disk.written == []
        disk.may_end.set()
    assert disk.written == [1]
    assert disk.threads != [threading.current_thread()]


def test_at_most_one_state_is_under_way() -> None:
    """The second `put` ends only after the first state is written."""
    disk, done = SlowDisk(), threading.Event()
    with CheckpointWriter(disk.save, background_bytes=0) as writer:
        writer.put(state(1))

        def second() -> None:
            writer.put(state(2))
            done.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert disk.begun.wait(PATIENCE)
        assert not done.is_set()
        disk.may_end.set()
        thread.join(PATIENCE)
        assert done.is_set()
    assert disk.written == [1, 2]


@pytest.mark.parametrize("background_bytes", [0, 1 << 20])
def test_what_the_writer_raises_comes_out_in_the_run(background_bytes: int) -> None:
    with pytest.raises(BadInput, match="no space left"), CheckpointWriter(full_disk, background_bytes) as writer:
        writer.put(state(1))
    with CheckpointWriter(full_disk, background_bytes=0) as writer:
        writer.put(state(1))
        with pytest.raises(BadInput, match="no space left"):
            writer.put(state(2))


def interrupted(save: Callable[[State], object]) -> None:
    with CheckpointWriter(save, background_bytes=0) as writer:
        writer.put(state(1))
        raise KeyboardInterrupt


def test_an_interrupted_run_waits_for_its_checkpoint_and_stays_interrupted() -> None:
    disk = SlowDisk()
    disk.may_end.set()
    with pytest.raises(KeyboardInterrupt):
        interrupted(disk.save)
    assert disk.written == [1]
    with pytest.raises(KeyboardInterrupt):
        interrupted(full_disk)


def test_a_run_with_large_states_resumes_to_the_same_bits() -> None:
    """The thread gets snapshots: what the run does to its parameters meanwhile does not reach them."""

    def fit() -> Fit:
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 2)
        optimizers = {"line": torch.optim.Adam(module.parameters(), lr=0.1)}
        return Fit("coarse", FitSettings(steps=8), {"line": module}, optimizers, torch.Generator().manual_seed(3), torch.device("cpu"))

    def loss_of(run: Fit):
        return lambda *_: StepLoss((run.modules["line"](torch.ones(3)) - torch.randn(2, generator=run.draws)).square().sum(), True, {})

    whole, held, states = fit(), threading.Event(), []
    with CheckpointWriter(lambda given: (held.wait(PATIENCE), states.append(given)), background_bytes=0) as writer:

        def loss(step, progress, watch):
            if step == 4:
                writer.put(whole.state())
            return loss_of(whole)(step, progress, watch)

        whole.run(loss, Hooks())
        held.set()
    resumed = fit()
    resumed.run(loss_of(resumed), Hooks(resume=states[0]))
    assert torch.equal(resumed.modules["line"].weight, whole.modules["line"].weight)


def test_a_modules_part_of_a_state_is_its_own() -> None:
    parts = {"module.a.w": torch.zeros(1), "module.ab.w": torch.ones(1), "fit.counts": torch.zeros(2)}
    assert set(module_state(parts, "a")) == {"w"}
    assert torch.equal(module_state(parts, "a")["w"], torch.zeros(1))
