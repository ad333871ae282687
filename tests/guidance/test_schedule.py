"""Times and noise: spans anneal linearly, every time is drawn, weights are what their names say."""

import itertools
import math

import pytest
import torch
from guided import normal

from dreamfusion_mesh.guidance.schedule import add_noise, draw_timesteps, timestep_range, variance_preserving, weight
from dreamfusion_mesh.records.diffusion import Schedule

ALPHA_BAR = torch.cos(torch.linspace(0.02, 1.55, 50, dtype=torch.float64)).square()
SCHEDULE = variance_preserving(ALPHA_BAR)


SPANS = ((0.02, 0.1), (0.98, 0.5))


def test_times_anneal_linearly_and_stay_within_the_schedule():
    assert timestep_range("linear", 0.0, *SPANS, 1000) == (20, 980)
    assert timestep_range("linear", 0.5, *SPANS, 1000) == (60, 740)
    assert timestep_range("linear", 1.0, *SPANS, 1000) == (100, 500)
    assert timestep_range("linear", 0.0, (1.0, 1.0), (1.0, 1.0), 10) == (9, 9)
    for progress in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="progress"):
            timestep_range("linear", progress, *SPANS, 1000)


def test_a_fixed_schedule_keeps_the_first_values():
    assert {timestep_range("fixed", progress, *SPANS, 1000) for progress in (0, 0.3, 1)} == {(20, 980)}


@pytest.mark.parametrize(("kind", "half"), [("deterministic", 740), ("sqrt", 641)])
def test_a_deterministic_schedule_gives_one_time_from_the_first_to_the_last_of_t_max(kind, half):
    assert [timestep_range(kind, progress, *SPANS, 1000) for progress in (0, 0.5, 1)] == [(980, 980), (half, half), (500, 500)]


def test_dreamtime_spends_on_each_time_the_share_that_its_weight_has():
    """The published weights of DreamTime, summed time by time: the share of the steps above a time is the share of the weights above."""
    weights = {}
    for t in range(20, 981):
        weights[t] = math.exp(-((t - 800) ** 2) / (2 * 300**2)) if t > 800 else math.exp(-((t - 500) ** 2) / (2 * 100**2)) if t < 500 else 1
    times = [timestep_range("dreamtime", step / 999, (0.0, 0.0), (0.98, 0.02), 1000)[0] for step in range(1000)]
    assert (times[0], times[-1]) == (980, 20)
    assert all(later <= earlier for earlier, later in itertools.pairwise(times))
    for t in (900, 800, 650, 500, 350):
        share = sum(value for time, value in weights.items() if time > t) / sum(weights.values())
        assert sum(time > t for time in times) / 1000 == pytest.approx(share, abs=3e-3)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="t_schedule 'cosine': expected fixed"):
        timestep_range("cosine", 0.5, *SPANS, 1000)


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
