"""Times and noise: spans anneal linearly, every time is drawn, weights are what their names say."""

import math

import pytest
import torch
from guided import normal

from dreamfusion_mesh.guidance.schedule import add_noise, draw_timesteps, timestep_range, variance_preserving, weight
from dreamfusion_mesh.records.diffusion import Schedule

ALPHA_BAR = torch.cos(torch.linspace(0.02, 1.55, 50, dtype=torch.float64)).square()
SCHEDULE = variance_preserving(ALPHA_BAR)


def test_times_anneal_linearly_and_stay_within_the_schedule():
    spans = ((0.02, 0.1), (0.98, 0.5))
    assert timestep_range(0.0, *spans, 1000) == (20, 980)
    assert timestep_range(0.5, *spans, 1000) == (60, 740)
    assert timestep_range(1.0, *spans, 1000) == (100, 500)
    assert timestep_range(0.0, (1.0, 1.0), (1.0, 1.0), 10) == (9, 9)
    for progress in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="progress"):
            timestep_range(progress, *spans, 1000)


def test_every_time_of_the_range_is_drawn_both_ends_included():
    drawn = draw_timesteps(3, 6, 400, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.int64
    assert sorted(set(drawn.tolist())) == [3, 4, 5, 6]


def test_weights_are_the_variance_the_deviation_or_one():
    t = torch.tensor([0, 20, 49])
    torch.testing.assert_close(weight(SCHEDULE, t, "one_minus_alpha_bar"), 1 - ALPHA_BAR[t], rtol=1e-12, atol=0)
    torch.testing.assert_close(weight(SCHEDULE, t, "sqrt_one_minus_alpha_bar"), (1 - ALPHA_BAR[t]).sqrt(), rtol=1e-12, atol=0)
    assert weight(SCHEDULE, t, "uniform").tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="snr"):
        weight(SCHEDULE, t, "snr")


def test_noise_is_added_as_the_schedule_says_even_where_it_does_not_preserve_variance():
    s = torch.linspace(0.01, 0.99, 50)
    flow, t = Schedule(1 - s, s), torch.tensor([3, 40])
    latents, noise = normal(2, 4, 8, 8), normal(2, 4, 8, 8, seed=1)
    expected = torch.stack([(1 - s[i]) * latents[row] + s[i] * noise[row] for row, i in enumerate(t.tolist())])
    assert torch.equal(add_noise(latents, noise, flow, t), expected)


def test_signal_and_noise_of_other_lengths_or_types_are_refused():
    with pytest.raises(ValueError, match=r"noise: shape \[3\], expected \[2\]"):
        Schedule(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="signal: dtype"):
        Schedule(torch.ones(2, dtype=torch.int64), torch.ones(2))
