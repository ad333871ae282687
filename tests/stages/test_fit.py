"""The shared loop: a resumed run is the run, gradients are clipped, rates follow their schedule, and NaN from guidance costs one step."""

import itertools
import math

import pytest
import torch
from outcomes import poor_outcome

from dreamfusion_mesh.config import FitSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.stages.fit import MAX_BAD_STEPS, Fit, Hooks, State, StepLoss, rate_share

CPU = torch.device("cpu")
EVERY_STEP = 0.0


def new_fit(steps: int, **changes: object) -> Fit:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    optimizers = {"line": torch.optim.Adam(module.parameters(), lr=0.1)}
    settings = FitSettings(**{"steps": steps, "checkpoint_seconds": EVERY_STEP, **changes})
    return Fit("coarse", settings, {"line": module}, optimizers, torch.Generator().manual_seed(3), CPU)


def noisy_loss(fit: Fit):
    def loss(step, progress, watch):
        module = fit.modules["line"]
        target = torch.randn(2, generator=fit.draws)
        value = (module(torch.ones(3)) - target).square().sum()
        return StepLoss(value, True, {"loss": float(value.detach())})

    return loss


def weights(fit: Fit) -> torch.Tensor:
    return fit.modules["line"].weight.detach().clone()


def steps_of(states: list[State]) -> list[int]:
    return [int(state["fit.counts"][0]) for state in states]


def test_a_run_that_was_stopped_and_resumed_gives_the_same_bits() -> None:
    whole = new_fit(20)
    whole.run(noisy_loss(whole), Hooks())

    states: list[State] = []
    stopped = new_fit(20)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(noisy_loss(stopped), Hooks(save=states.append, report=interrupt_at(14)))
    assert steps_of(states) == list(range(1, 15))
    for state in (states[3], states[-1]):
        resumed = new_fit(20)
        resumed.run(noisy_loss(resumed), Hooks(resume=state))
        assert torch.equal(weights(resumed), weights(whole))
        assert torch.equal(resumed.draws.get_state(), whole.draws.get_state())


def interrupt_at(step: int):
    def report(stage, done, total, figures, scene):
        if done == step:
            raise KeyboardInterrupt

    return report


def test_checkpoints_are_taken_by_seconds_of_work() -> None:
    """Steps of 7 seconds, checkpoints at least 20 apart, so every third step; none after the last step."""
    now, states = [100.0], []

    def report(*_: object) -> None:
        now[0] += 7

    fit = new_fit(10, checkpoint_seconds=20.0)
    fit.run(noisy_loss(fit), Hooks(save=states.append, report=report, clock=lambda: now[0]))
    assert steps_of(states) == [4, 7]  # the clock shows 21 when step 4 ends, and 21 more at step 7; step 10 is the last

    states.clear()
    fit = new_fit(4, checkpoint_seconds=EVERY_STEP)
    fit.run(noisy_loss(fit), Hooks(save=states.append, clock=lambda: 0.0))
    assert steps_of(states) == [1, 2, 3]


def test_a_state_is_a_copy_that_later_steps_leave_alone() -> None:
    states: list[State] = []
    fit = new_fit(3)
    fit.run(noisy_loss(fit), Hooks(save=states.append))
    assert not torch.equal(states[0]["module.line.weight"], states[1]["module.line.weight"])
    assert not torch.equal(states[0]["optimizer.line.0.exp_avg"], states[1]["optimizer.line.0.exp_avg"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_step_changes_nothing_and_is_counted(bad: float) -> None:
    fit = new_fit(1)
    before = weights(fit)
    fit.run(lambda step, progress, watch: StepLoss(fit.modules["line"].weight.sum() * bad, True, {}), Hooks())
    assert torch.equal(weights(fit), before)
    assert fit.skipped == 1


def test_a_finite_loss_with_a_gradient_that_is_not_changes_nothing() -> None:
    fit = new_fit(1)
    before = weights(fit)

    def loss(step, progress, watch):
        weight = fit.modules["line"].weight
        return StepLoss((weight - weight.detach()).abs().sqrt().sum(), True, {})  # d sqrt at 0 is infinite

    fit.run(loss, Hooks())
    assert torch.equal(weights(fit), before)
    assert fit.skipped == 1


def test_nine_bad_steps_in_a_row_are_skipped_and_ten_stop_the_run_with_the_good_checkpoint() -> None:
    for bad_steps, stops in ((MAX_BAD_STEPS - 1, False), (MAX_BAD_STEPS, True)):
        fit, states = new_fit(40), []
        good = noisy_loss(fit)

        def loss(step, progress, watch, good=good, bad_steps=bad_steps):
            result = good(step, progress, watch)
            return StepLoss(result.loss, not 6 <= step < 6 + bad_steps, {})

        if stops:
            with poor_outcome("diverged", r"coarse: the last 10 steps up to 16 gave no finite gradient"):
                fit.run(loss, Hooks(save=states.append))
            assert steps_of(states) == [1, 2, 3, 4, 5, 6]  # from before the bad steps
        else:
            fit.run(loss, Hooks(save=states.append))
            assert fit.skipped == bad_steps


def test_a_checkpoint_of_another_shape_is_refused() -> None:
    fit = new_fit(4)
    state = fit.state()
    state["module.line.weight"] = torch.zeros(5, 5)
    wanted = r"x\.part: does not fit this run \(module\.line\.weight: torch\.float32 \[5, 5\], expected .* \[2, 3\]\); delete it to redo"
    with pytest.raises(BadInput, match=wanted):
        new_fit(4).run(noisy_loss(fit), Hooks(resume=state, source="x.part"))
    with pytest.raises(BadInput, match="a: is no tensor of this checkpoint"):
        new_fit(4).run(noisy_loss(fit), Hooks(resume={"a": torch.zeros(1)}))


def test_a_checkpoint_with_an_optimiser_that_is_not_there_is_refused() -> None:
    states: list[State] = []
    fit = new_fit(3)
    fit.run(noisy_loss(fit), Hooks(save=states.append))
    other = {key.replace("optimizer.line", "optimizer.curve"): value for key, value in states[0].items()}
    with pytest.raises(BadInput, match=r"optimizer\.curve\.0\.exp_avg: is no tensor of this checkpoint"):
        new_fit(3).run(noisy_loss(fit), Hooks(resume=other))


def pair(wide: bool) -> Fit:
    """Two modules, each with an optimiser of its own."""
    torch.manual_seed(1)
    modules = {"a": torch.nn.Linear(3, 6 if wide else 2), "b": torch.nn.Linear(2, 2)}
    rates = {"a": 0.1, "b": 0.02}
    optimizers = {f"{name}s": torch.optim.Adam(module.parameters(), lr=rates[name]) for name, module in modules.items()}
    settings = FitSettings(steps=12, checkpoint_seconds=EVERY_STEP)
    return Fit("fine", settings, modules, optimizers, torch.Generator().manual_seed(3), CPU)


def test_a_successor_takes_a_modules_place() -> None:
    """Its parameters are trained from then on, without moments; the others keep theirs; the checkpoint resumes to the same bits."""

    def growing(fit: Fit):
        def loss(step, progress, watch):
            if step == 6:
                torch.manual_seed(2)
                fit.replace("a", torch.nn.Linear(3, 6))
                assert [len(optimizer.state) for optimizer in fit.optimizers.values()] == [0, 2]
            a, b = fit.modules["a"], fit.modules["b"]
            noise = torch.randn(2, generator=fit.draws)
            return StepLoss((b(a(torch.ones(3))[:2]) - noise).square().sum() + a.weight.square().sum(), True, {})

        return loss

    states: list[State] = []
    whole = pair(wide=False)
    whole.run(growing(whole), Hooks(save=states.append))
    states = [state for state in states if int(state["fit.counts"][0]) in (3, 6, 9)]
    assert [state["module.a.weight"].shape[0] for state in states] == [2, 2, 6]
    assert [float(state["optimizer.as.0.step"]) for state in states] == [3, 6, 3]
    assert [float(state["optimizer.bs.0.step"]) for state in states] == [3, 6, 9]
    for state in states:
        resumed = pair(wide=state["module.a.weight"].shape[0] == 6)
        resumed.run(growing(resumed), Hooks(resume=state))
        for name in ("a", "b"):
            assert torch.equal(resumed.modules[name].weight, whole.modules[name].weight)
    assert whole.optimizers["as"].param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_successor_with_other_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match=r"line has parameters \['bias', 'weight'\], its successor \['weight'\]"):
        new_fit(1).replace("line", torch.nn.Linear(3, 2, bias=False))


@pytest.mark.parametrize("clip", [0.25, 4.0])
def test_gradients_of_all_optimisers_are_clipped_together(clip: float) -> None:
    """Plain descent at rate 1 moves by the gradient itself, whose norm was 30 and 40 in two optimisers, 50 together."""
    modules = {name: torch.nn.Linear(1, 1, bias=False) for name in ("a", "b")}
    optimizers = {name: torch.optim.SGD(module.parameters(), lr=1.0) for name, module in modules.items()}
    fit = Fit("coarse", FitSettings(steps=1, gradient_clip=clip), modules, optimizers, torch.Generator(), CPU)
    before = {name: float(module.weight.detach()) for name, module in modules.items()}
    fit.run(lambda *_: StepLoss(30 * modules["a"].weight.sum() + 40 * modules["b"].weight.sum(), True, {}), Hooks())
    moved = {name: before[name] - float(module.weight.detach()) for name, module in modules.items()}
    assert moved == pytest.approx({"a": 0.6 * clip, "b": 0.8 * clip}, rel=1e-5)


@pytest.mark.parametrize(("clip", "moved"), [(35.0, (30, -35)), (4.0, (4, -4))])
def test_each_value_of_the_gradients_is_clipped_by_itself(clip: float, moved: tuple[float, float]) -> None:
    modules = {name: torch.nn.Linear(1, 1, bias=False) for name in ("a", "b")}
    optimizers = {name: torch.optim.SGD(module.parameters(), lr=1.0) for name, module in modules.items()}
    settings = FitSettings(steps=1, gradient_clip=clip, gradient_clip_by="value")
    fit = Fit("coarse", settings, modules, optimizers, torch.Generator(), CPU)
    before = [float(module.weight.detach()) for module in modules.values()]
    fit.run(lambda *_: StepLoss(30 * modules["a"].weight.sum() - 40 * modules["b"].weight.sum(), True, {}), Hooks())
    after = [float(module.weight.detach()) for module in modules.values()]
    assert [first - last for first, last in zip(before, after, strict=True)] == pytest.approx(moved, rel=1e-5)


@pytest.mark.parametrize("spoiled", [math.nan, math.inf])
@pytest.mark.parametrize("by", ["norm", "value"])
def test_a_gradient_that_is_not_finite_is_skipped_however_gradients_are_clipped(by: str, spoiled: float) -> None:
    """Clipped to a value, infinity would be a step like any other."""
    line = torch.nn.Linear(1, 1, bias=False)
    optimizers = {"line": torch.optim.SGD(line.parameters(), lr=1.0)}
    fit = Fit("coarse", FitSettings(steps=1, gradient_clip_by=by), {"line": line}, optimizers, torch.Generator(), CPU)
    line.weight.register_hook(lambda gradient: gradient * spoiled)
    before = line.weight.detach().clone()
    fit.run(lambda *_: StepLoss(line.weight.sum(), True, {}), Hooks())
    assert fit.skipped == 1
    assert torch.equal(line.weight, before)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("final", [0.1, 0.0, 1.0])
def test_the_learning_rates_go_from_their_first_values_to_the_final_share(schedule: str, final: float) -> None:
    fit, rates = new_fit(11, rate_schedule=schedule, final_rate=final), []
    fit.run(noisy_loss(fit), Hooks(report=lambda *_: rates.append(fit.optimizers["line"].param_groups[0]["lr"])))
    assert rates[0] == pytest.approx(0.1)
    assert rates[5] == pytest.approx(0.1 * (1 + final) / 2)  # half-way in both
    assert rates[-1] == pytest.approx(0.1 * final, abs=1e-12)
    assert final == 1.0 or all(later < earlier for earlier, later in itertools.pairwise(rates))


def test_the_schedules_are_a_line_and_half_a_cosine() -> None:
    assert rate_share("linear", 0.1, 0.25) == pytest.approx(0.775)
    assert rate_share("cosine", 0.1, 0.25) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
