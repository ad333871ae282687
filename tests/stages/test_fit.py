"""The shared loop: a resumed run is the run, and NaN from guidance costs one step."""

import itertools
import math

import pytest
import torch

from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.stages.fit import MOST_BAD_STEPS, Fit, Hooks, State, StepLoss


def new_fit(steps: int) -> Fit:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    return Fit("coarse", steps, {"line": module}, optimizer, torch.Generator().manual_seed(3), 1.0, torch.device("cpu"))


def noisy_loss(fit: Fit):
    def loss(step, progress, watch):
        module = fit.modules["line"]
        target = torch.randn(2, generator=fit.draws)
        value = (module(torch.ones(3)) - target).square().sum()
        return StepLoss(value, True, {"loss": float(value.detach())})

    return loss


def weights(fit: Fit) -> torch.Tensor:
    return fit.modules["line"].weight.detach().clone()


def test_a_run_that_was_stopped_and_resumed_gives_the_same_bits() -> None:
    whole = new_fit(20)
    whole.run(noisy_loss(whole), Hooks())

    states: list[State] = []
    stopped = new_fit(20)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(noisy_loss(stopped), Hooks(save=states.append, interval=4, report=interrupt_at(14)))
    resumed = new_fit(20)
    resumed.run(noisy_loss(resumed), Hooks(resume=states[-1]))
    assert len(states) == 3
    assert torch.equal(weights(resumed), weights(whole))
    assert torch.equal(resumed.draws.get_state(), whole.draws.get_state())


def interrupt_at(step: int):
    def report(stage, done, total, figures):
        if done == step:
            raise KeyboardInterrupt

    return report


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


def test_nine_bad_steps_in_a_row_are_borne_and_ten_stop_the_run_with_the_good_checkpoint() -> None:
    for bad_steps, stops in ((MOST_BAD_STEPS - 1, False), (MOST_BAD_STEPS, True)):
        fit, states = new_fit(40), []
        good = noisy_loss(fit)

        def loss(step, progress, watch, good=good, bad_steps=bad_steps):
            result = good(step, progress, watch)
            return StepLoss(result.loss, not 6 <= step < 6 + bad_steps, {})

        if stops:
            with pytest.raises(RunFailed, match=r"coarse: the last 10 steps up to 16 gave no finite gradient"):
                fit.run(loss, Hooks(save=states.append, interval=2))
            assert int(states[-1]["fit.counts"][0]) == 6  # from before the bad steps
        else:
            fit.run(loss, Hooks(save=states.append, interval=2))
            assert fit.skipped == bad_steps


def test_a_checkpoint_of_another_shape_is_refused() -> None:
    fit = new_fit(4)
    state = fit.state()
    state["module.line.weight"] = torch.zeros(5, 5)
    with pytest.raises(RunFailed, match="does not fit these settings"):
        new_fit(4).run(noisy_loss(fit), Hooks(resume=state))
    with pytest.raises(RunFailed, match="does not fit"):
        new_fit(4).run(noisy_loss(fit), Hooks(resume={"a": torch.zeros(1)}))


def test_a_successor_takes_a_modules_place() -> None:
    """Its parameters are trained from then on, without moments; the others keep theirs; the checkpoint resumes to the same bits."""

    def pair(wide: bool) -> Fit:
        torch.manual_seed(1)
        modules = {"a": torch.nn.Linear(3, 6 if wide else 2), "b": torch.nn.Linear(2, 2)}
        groups = [{"params": list(module.parameters()), "lr": rate} for module, rate in zip(modules.values(), (0.1, 0.02), strict=True)]
        return Fit("fine", 12, modules, torch.optim.Adam(groups), torch.Generator().manual_seed(3), 1.0, torch.device("cpu"))

    def growing(fit: Fit):
        def loss(step, progress, watch):
            if step == 6:
                torch.manual_seed(2)
                fit.replace("a", torch.nn.Linear(3, 6))
                assert len(fit.optimizer.state) == 2
            a, b = fit.modules["a"], fit.modules["b"]
            noise = torch.randn(2, generator=fit.draws)
            return StepLoss((b(a(torch.ones(3))[:2]) - noise).square().sum() + a.weight.square().sum(), True, {})

        return loss

    states: list[State] = []
    whole = pair(wide=False)
    whole.run(growing(whole), Hooks(save=states.append, interval=3))
    assert [state["module.a.weight"].shape[0] for state in states] == [2, 2, 6]
    assert [float(state["optimizer.0.step"]) for state in states] == [3, 6, 3]
    assert [float(state["optimizer.2.step"]) for state in states] == [3, 6, 9]
    for state in states:
        resumed = pair(wide=state["module.a.weight"].shape[0] == 6)
        resumed.run(growing(resumed), Hooks(resume=state))
        for name in ("a", "b"):
            assert torch.equal(resumed.modules[name].weight, whole.modules[name].weight)
    assert whole.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_successor_with_other_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match=r"line has parameters \['bias', 'weight'\], its successor \['weight'\]"):
        new_fit(1).replace("line", torch.nn.Linear(3, 2, bias=False))


def test_the_learning_rate_falls_to_a_tenth() -> None:
    fit, rates = new_fit(11), []
    fit.run(noisy_loss(fit), Hooks(report=lambda *_: rates.append(fit.optimizer.param_groups[0]["lr"])))
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.01)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
