"""The optimisation loop both stages share: step, skip what is not finite, report, checkpoint, resume.

A checkpoint is a flat mapping of tensors: parameters, the optimiser's moments, the generator's state and the count of steps. A run
that goes on from one gives the same bits on the CPU as a run that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dreamfusion_mesh.errors import RunFailed

State = dict[str, Tensor]
Report = Callable[[str, int, int, Mapping[str, float]], None]  # stage, steps done, steps in all, figures

MOST_BAD_STEPS = 10
_LAST_RATE = 0.1  # the learning rate falls to this share of its first value


def quiet(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """A `Report` that tells nobody."""


@dataclass(frozen=True)
class Hooks:
    """How a stage talks to whoever runs it.

    resume    state of an earlier run of this stage, or None
    save      called with the state every `interval` steps
    """

    report: Report = quiet
    save: Callable[[State], None] | None = None
    interval: int = 100
    resume: State | None = None


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
    """One step's loss with its graph; `finite` is False where guidance gave NaN or infinity, and then the step is skipped."""

    loss: Tensor
    finite: bool
    figures: dict[str, float]


@dataclass
class Fit:
    """What one stage optimises, and everything its checkpoint has to hold.

    modules  parameters by name; any object with state_dict() and load_state_dict() over tensors
    """

    stage: str
    steps: int
    modules: Mapping[str, torch.nn.Module]
    optimizer: torch.optim.Optimizer
    draws: torch.Generator
    gradient_clip: float
    device: torch.device
    done: int = 0
    skipped: int = 0
    first_rates: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.first_rates = [group["lr"] for group in self.optimizer.param_groups]

    def run(self, loss: Callable[[int, float, Stopwatch], StepLoss], hooks: Hooks) -> None:
        """Run `loss(step, progress in [0, 1], stopwatch)` and its optimiser step until `steps` are done.

        Raises RunFailed after ten steps in a row without a finite gradient; no checkpoint is taken while steps are bad.
        """
        if hooks.resume is not None:
            self.load(hooks.resume)
        bad = 0
        while self.done < self.steps:
            watch = Stopwatch(self.device)
            with watch.lap("step_ms"):
                progress = self.done / max(1, self.steps - 1)
                result = loss(self.done, progress, watch)
                good = self._step(result, progress)
            bad = 0 if good else bad + 1
            self.skipped += not good
            self.done += 1
            if bad >= MOST_BAD_STEPS:
                raise RunFailed(
                    f"{self.stage}: the last {bad} steps up to {self.done} gave no finite gradient; the last checkpoint is older. "
                    f"Try a lower {self.stage}.learning_rate or guidance.scale, or guidance.half_precision=false"
                )
            if hooks.save is not None and bad == 0 and self.done % hooks.interval == 0 and self.done < self.steps:
                hooks.save(self.state())
            hooks.report(self.stage, self.done, self.steps, {**result.figures, **watch.laps, "skipped": float(self.skipped)})

    def replace(self, name: str, module: torch.nn.Module) -> None:
        """Put `module` where modules[name] is, and each of its parameters where its namesake is; they start without moments.

        Rates, schedule, the other parameters' moments and the checkpoint's layout stay. Raises ValueError where the names differ.
        """
        old, new = dict(self.modules[name].named_parameters()), dict(module.named_parameters())
        if old.keys() != new.keys():
            raise ValueError(f"Fit.replace: {name} has parameters {sorted(old)}, its successor {sorted(new)}, expected the same names")
        heirs = {parameter: new[key] for key, parameter in old.items()}
        for group in self.optimizer.param_groups:
            group["params"] = [heirs.get(parameter, parameter) for parameter in group["params"]]
        for parameter in heirs:
            self.optimizer.state.pop(parameter, None)
        self.modules = {**self.modules, name: module}

    def _step(self, result: StepLoss, progress: float) -> bool:
        if not (result.finite and math.isfinite(float(result.loss.detach()))):
            return False
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.optimizer.zero_grad(set_to_none=True)
        if result.loss.requires_grad:  # nothing in sight of any camera: no gradient, and no harm
            result.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clip)
        if not torch.isfinite(norm):
            return False
        for group, rate in zip(self.optimizer.param_groups, self.first_rates, strict=True):
            group["lr"] = rate * (1 + (_LAST_RATE - 1) * progress)
        self.optimizer.step()
        return True

    def state(self) -> State:
        """Everything needed to go on, as tensors on the CPU."""
        kept: State = {
            "fit.counts": torch.tensor([self.done, self.skipped], dtype=torch.int64),
            "fit.draws": self.draws.get_state(),
        }
        for name, module in self.modules.items():
            kept |= {f"module.{name}.{key}": value.detach().cpu().clone() for key, value in module.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            kept |= {f"optimizer.{index}.{key}": torch.as_tensor(value).detach().cpu().clone() for key, value in slots.items()}
        return kept

    def load(self, state: State) -> None:
        """Go on from `state`. Raises RunFailed where it does not fit this stage."""
        try:
            self.done, self.skipped = (int(n) for n in state["fit.counts"])
            self.draws.set_state(state["fit.draws"])
            for name, module in self.modules.items():
                module.load_state_dict(module_state(state, name))
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": _optimizer_slots(state)})
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunFailed(f"{self.stage}: its checkpoint does not fit these settings ({reason}); delete it to redo the stage") from error


def module_state(state: State, name: str) -> State:
    """The part of a checkpoint that belongs to the module `name`."""
    prefix = f"module.{name}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _optimizer_slots(state: State) -> dict[int, State]:
    slots: dict[int, State] = {}
    for key, value in state.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            slots.setdefault(int(index), {})[name] = value
    return slots
