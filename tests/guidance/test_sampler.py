"""DDIM ends where the probability flow of an analytic score leads, and on what a model is certain of."""

from __future__ import annotations

import pytest
import torch
from analytic_scores import SCHEDULE, Gaussian, Mixture
from guided import column, normal
from torch import Tensor

from dreamfusion_mesh.guidance.answers import convert
from dreamfusion_mesh.guidance.sampler import denoise, sample, sampling_times
from dreamfusion_mesh.records.diffusion import Schedule

NARROW = Gaussian(mean=0.4, spread=0.1)


def clean_image(score: Gaussian | Mixture, noisy: Tensor, t: int) -> Tensor:
    """E[x_0 | x_t]."""
    times = torch.full((len(noisy),), t)
    return convert(score.eps(noisy, times), noisy, SCHEDULE, times, "epsilon", "sample")


def drawn(score: Gaussian | Mixture, noise: Tensor, steps: int) -> Tensor:
    return sample(noise, lambda noisy, t: clean_image(score, noisy, t), SCHEDULE, steps)


def test_samples_of_gaussian_data_lie_where_the_flow_leads_and_closer_with_more_steps() -> None:
    noise = normal(64, 3, 2, 2, dtype=torch.float64)
    deviation = (column(SCHEDULE.signal[-1:]) ** 2 * NARROW.spread**2 + column(SCHEDULE.noise[-1:]) ** 2).sqrt()
    exact = NARROW.mean + NARROW.spread * (noise - SCHEDULE.signal[-1] * NARROW.mean) / deviation
    errors = [float((drawn(NARROW, noise, steps) - exact).abs().mean()) for steps in (20, 80)]
    assert errors[0] < 0.25 * NARROW.spread
    assert errors[1] < errors[0] / 3


def test_samples_of_two_modes_are_of_one_or_the_other_as_often_each() -> None:
    score = Mixture(Gaussian(-0.6, 0.05), Gaussian(0.6, 0.05))
    found = drawn(score, normal(500, 1, 2, 2, dtype=torch.float64), 20)
    assert float(((found.abs() - 0.6).abs() < 0.2).double().mean()) > 0.97
    assert float((found > 0).double().mean()) == pytest.approx(0.5, abs=0.05)


def test_a_certain_model_is_followed_exactly_even_where_there_is_no_signal() -> None:
    schedule = Schedule(torch.tensor([0.99, 0.7, 0.0]), torch.tensor([0.141, 0.714, 1.0]))
    image = normal(2, 3, 4, 4)
    torch.testing.assert_close(sample(normal(2, 3, 4, 4, seed=1), lambda noisy, t: image, schedule, 3), image, rtol=0, atol=0)
    noise = normal(2, 3, 4, 4, seed=1)
    torch.testing.assert_close(denoise(noise, image, schedule, 2, 1), 0.7 * image + 0.714 * noise)


@pytest.mark.parametrize(("count", "steps"), [(1000, 20), (1000, 1), (4, 10), (1, 3)])
def test_times_fall_from_the_last_to_the_first(count: int, steps: int) -> None:
    times = sampling_times(count, steps)
    assert len(times) == steps
    assert times[0] == count - 1
    assert times[-1] == 0 or steps == 1
    assert times == sorted(times, reverse=True)
    assert sampling_times(count, steps, 0.5)[0] == round((count - 1) / 2)
