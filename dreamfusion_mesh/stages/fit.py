"""The optimisation loop both stages share: step, skip what is not finite, report, checkpoint, resume.

A checkpoint is a flat mapping of tensors: parameters, the optimisers' moments, the generator's state and the count of steps. A run
that goes on from one gives the same bits on the CPU as a run that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from dreamfusion_mesh.config import FitSettings
from dreamfusion_mesh.errors import PoorOutcome
from dreamfusion_mesh.stages.checkpoint import CheckpointWriter, State, snapshot
from dreamfusion_mesh.stages.restore import (
    COUNTS,
    DRAWS,
    OF_FIT,
    Layout,
    check_tensors,
    fits,
    layout_of_modules,
    load_draws,
    load_modules,
    step_counts,
    tensors_of_modules,
)
from dreamfusion_mesh.stages.scene import Scene

# Stage, steps done, steps in all, figures, and what the step worked on, where it is a step of a fit that can be looked at.
Report = Callable[[str, int, int, Mapping[str, float], Scene | None], None]

Stop = Callable[[], bool]  # whether the work is to end where it can go on later

MAX_BAD_STEPS = 10  # in a row


class Halted(Exception):
    """The work ended because it was asked to, where another process can go on with it."""


def no_progress(stage: str, done: int, total: int, figures: Mapping[str, float], scene: Scene | None) -> None:
    """A `Report` that does nothing."""


def never() -> bool:
    """A `Stop` that never asks for the end."""
    return False


@dataclass(frozen=True)
class Hooks:
    """How a stage talks to whoever runs it.

    save    called with the state after the first good step that ends `checkpoint_seconds` or more after the last checkpoint, or where
            `stop` asks for it, but not after the last step; from a thread where the state is large
    resume  state of an earlier run of this stage, or None
    source  where `resume` was read, for messages
    clock   seconds, from any origin
    stop    asked after each step but the last
    """

    report: Report = no_progress
    save: Callable[[State], None] | None = None
    resume: State | None = None
    source: str = "the checkpoint"
    clock: Callable[[], float] = time.monotonic
    stop: Stop = never


@dataclass
class Stopwatch:
    """Milliseconds by name; waits for the device, so that a figure is the work and not its launch."""

    device: torch.device
    laps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        start = self._now()
        yield
        self.laps[name] = self.laps.get(name, 0.0) + 1e3 * (self._now() - start)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@dataclass(frozen=True)
class StepLoss:
    """One step's loss with its graph; `finite` is False where guidance gave NaN or infinity, and then the step is skipped.

    rate   of this step, in the first learning rates; None: as the schedule has it for the stage's steps
    scene  what the step worked on, for reports
    """

    loss: Tensor
    finite: bool
    figures: dict[str, float]
    rate: float | None = None
    scene: Scene | None = None


StepFunction = Callable[[int, float, Stopwatch], StepLoss]  # step from 0, progress in [0, 1]


def rate_share(schedule: Literal["linear", "cosine"], final: float, progress: float) -> float:
    """The learning rate at `progress` in [0, 1] as a share of the first one, from 1 to `final`."""
    fall = progress if schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return 1 + (final - 1) * fall


def clip_gradients(parameters: Sequence[torch.nn.Parameter], settings: FitSettings) -> bool:
    """Clip the gradients of all `parameters`, together by their norm or each value by itself; whether their norm was finite.

    Source: Pascanu et al., arXiv:1211.5063, section 3.2, for the norm.
    """
    by_norm = settings.gradient_clip_by == "norm"
    norm = torch.nn.utils.clip_grad_norm_(parameters, settings.gradient_clip if by_norm else math.inf)
    if not by_norm:
        torch.nn.utils.clip_grad_value_(parameters, settings.gradient_clip)
    return bool(torch.isfinite(norm))


@dataclass
class Fit:
    """What one stage optimises, and everything its checkpoint has to hold.

    modules     what is saved, by name
    optimizers  by name; their learning rates are those of the first step, and their gradients are clipped together
    companions  by names of their own: of what the loss trains for itself, at rates that stay, without clipping
    """

    stage: str
    settings: FitSettings
    modules: Mapping[str, torch.nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    draws: torch.Generator
    device: torch.device
    companions: Mapping[str, torch.optim.Optimizer] = field(default_factory=dict)
    done: int = 0
    skipped: int = 0
    first_rates: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.first_rates = {name: [group["lr"] for group in each.param_groups] for name, each in self.optimizers.items()}

    def run(self, loss: StepFunction, hooks: Hooks) -> None:
        """Run `loss(step, progress in [0, 1], stopwatch)` and the optimisers' step until `settings.steps` are done.

        Raises BadInput where `hooks.resume` does not fit, PoorOutcome after ten steps in a row without a finite gradient, what
        `hooks.save` raises, and Halted, once the checkpoint is saved, where `hooks.stop` says so. No checkpoint is taken while steps are
        bad, and none is left half written.
        """
        if hooks.resume is not None:
            with fits(hooks.source):
                self.load(hooks.resume)
        steps, bad, saved_at, halt = self.settings.steps, 0, hooks.clock(), False
        with CheckpointWriter(hooks.save) if hooks.save else nullcontext() as writer:
            while self.done < steps and not halt:
                watch = Stopwatch(self.device)
                with watch.lap("step_ms"):
                    result, good = self._step(loss, watch)
                bad = 0 if good else bad + 1
                if bad >= MAX_BAD_STEPS:
                    raise PoorOutcome("diverged", f"{self.stage}: {self._why_bad(bad, result)}")
                halt = self.done < steps and hooks.stop()
                due = halt or hooks.clock() - saved_at >= self.settings.checkpoint_seconds
                if writer is not None and due and good and self.done < steps:
                    writer.put(self.state())
                    saved_at = hooks.clock()
                hooks.report(self.stage, self.done, steps, {**result.figures, **watch.laps, "skipped": float(self.skipped)}, result.scene)
        if halt:  # out here, where the writer is done and has raised what went wrong
            raise Halted(f"{self.stage}: stopped as asked, after step {self.done} of {steps}")

    def _why_bad(self, bad: int, last: StepLoss) -> str:
        """What went wrong in the last steps, and what to try."""
        if bad == self.done and not last.finite:
            found = f"the model that guides gave no finite answer in any of the first {bad} steps"
            return f"{found}: its weights are broken, or half precision too coarse; download it again, or set guidance.half_precision=false"
        found = f"the last {bad} steps up to {self.done} gave no finite gradient; the last checkpoint is older"
        return f"{found}. Try a lower {self.stage}.learning_rate or guidance.scale, or guidance.half_precision=false"

    def replace(self, name: str, module: torch.nn.Module) -> None:
        """Put `module` where modules[name] is, and each of its parameters where its namesake is; they start without moments.

        Rates, schedule, the other parameters' moments and the checkpoint's layout stay. Raises ValueError where the names differ.
        """
        old, new = dict(self.modules[name].named_parameters()), dict(module.named_parameters())
        if old.keys() != new.keys():
            raise ValueError(f"Fit.replace: {name} has parameters {sorted(old)}, its successor {sorted(new)}, expected the same names")
        successors = {parameter: new[key] for key, parameter in old.items()}
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["params"] = [successors.get(parameter, parameter) for parameter in group["params"]]
            for parameter in successors:
                optimizer.state.pop(parameter, None)
        self.modules = {**self.modules, name: module}

    def _step(self, loss: StepFunction, watch: Stopwatch) -> tuple[StepLoss, bool]:
        progress = self.done / max(1, self.settings.steps - 1)
        result = loss(self.done, progress, watch)
        good = self._descend(result, progress)
        self.skipped += not good
        self.done += 1
        return result, good

    def _descend(self, result: StepLoss, progress: float) -> bool:
        """Whether loss and gradient were finite; where one was not, nothing has changed."""
        if not (result.finite and math.isfinite(float(result.loss.detach()))):
            return False
        for optimizer in self._all_optimizers().values():
            optimizer.zero_grad(set_to_none=True)
        if result.loss.requires_grad:  # where no camera sees anything there is no gradient, and nothing is changed
            result.loss.backward()
        groups = [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]
        good = clip_gradients([p for group in groups for p in group["params"]], self.settings)
        if not (good and all(_finite_gradients(each) for each in self.companions.values())):
            return False
        planned = rate_share(self.settings.rate_schedule, self.settings.final_rate, progress)
        share = planned if result.rate is None else result.rate
        for group, rate in zip(groups, [rate for rates in self.first_rates.values() for rate in rates], strict=True):
            group["lr"] = rate * share
        for optimizer in self._all_optimizers().values():
            optimizer.step()
        return True

    def state(self) -> State:
        """Everything needed to go on, as tensors of its own on the CPU."""
        state = {COUNTS: torch.tensor([self.done, self.skipped], dtype=torch.int64), DRAWS: self.draws.get_state()}
        state |= {key: snapshot(value) for key, value in tensors_of_modules(self.modules).items()}
        for name, optimizer in self._all_optimizers().items():
            for index, slots in optimizer.state_dict()["state"].items():
                state |= {f"optimizer.{name}.{index}.{key}": snapshot(torch.as_tensor(value)) for key, value in slots.items()}
        return state

    def load(self, state: State) -> None:
        """Go on from `state`. Raises ValueError, with nothing changed but the draws, where it does not fit this stage."""
        moments = {name: _moments(optimizer, f"optimizer.{name}", state) for name, optimizer in self._all_optimizers().items()}
        slots = {key: like for each in moments.values() for key, like in each.items()}
        check_tensors(state, {**OF_FIT, **layout_of_modules(self.modules), **slots})
        done, skipped = step_counts(state)
        if done > self.settings.steps:
            raise ValueError(f"{done} steps are done, of {self.settings.steps}")
        load_draws(self.draws, state)
        load_modules(self.modules, state)
        for name, optimizer in self._all_optimizers().items():
            optimizer.load_state_dict({**optimizer.state_dict(), "state": _by_parameter(f"optimizer.{name}", moments[name], state)})
        self.done, self.skipped = done, skipped

    def _all_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {**self.optimizers, **self.companions}


def _finite_gradients(optimizer: torch.optim.Optimizer) -> bool:
    return all(bool(p.grad.isfinite().all()) for group in optimizer.param_groups for p in group["params"] if p.grad is not None)


def _moments(optimizer: torch.optim.Optimizer, prefix: str, state: State) -> dict[str, Layout]:
    """What Adam has of each parameter that it has stepped, by the names in the state: of those of which the state has anything."""
    expected: dict[str, Layout] = {}
    for index, parameter in enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]):
        own, shape = f"{prefix}.{index}.", tuple(parameter.shape)
        if any(key.startswith(own) for key in state):
            average, squares = Layout(shape, parameter.dtype), Layout(shape, parameter.dtype, 0)
            expected |= {f"{own}exp_avg": average, f"{own}exp_avg_sq": squares, f"{own}step": Layout((), torch.float32, 1)}
    return expected


def _by_parameter(prefix: str, names: Iterable[str], state: State) -> dict[int, State]:
    """By the parameter's number; empty before the first step."""
    found: dict[int, State] = {}
    for key in names:
        index, slot = key.removeprefix(f"{prefix}.").split(".")
        found.setdefault(int(index), {})[slot] = state[key]
    return found
