"""SDI and ISM against closed forms: for Gaussian data the way that the model takes is a line, and so is the score along it."""

import math

import pytest
import torch
from analytic_scores import SCHEDULE, Gaussian
from guided import column
from guided import normal as normal_of

from dreamfusion_mesh.guidance.losses.inversion import LEAST_NOISE, ddim_deviation, ddim_step, first_time
from dreamfusion_mesh.guidance.losses.ism import interval_score, interval_weight
from dreamfusion_mesh.guidance.losses.sdi import draw_ends, inverted_noise
from dreamfusion_mesh.guidance.schedule import add_noise, flow_matching
from dreamfusion_mesh.records.diffusion import Schedule

DATA = Gaussian(0.3, 0.4)
T = torch.tensor([60, 300, 620, 900])


def normal(*shape, seed=0):
    return normal_of(*shape, seed=seed, dtype=torch.float64)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def test_inversion_begins_at_the_first_time_with_noise_enough():
    begin = first_time(SCHEDULE)
    assert SCHEDULE.noise[begin] >= LEAST_NOISE > SCHEDULE.noise[begin - 1]
    assert first_time(Schedule(torch.ones(3), torch.zeros(3))) == 2, "the last, where no time has it"


def test_a_step_keeps_the_clean_image_and_the_noise_that_the_model_sees():
    clean, eps = normal(4, 3, 4, 4), normal(4, 3, 4, 4, seed=1)
    then = torch.tensor([70, 300, 950, 20])
    noisy = add_noise(clean, eps, SCHEDULE, T)
    moved = ddim_step(noisy, eps, SCHEDULE, T, then)
    torch.testing.assert_close(moved, add_noise(clean, eps, SCHEDULE, then), rtol=1e-9, atol=1e-9)
    assert torch.equal(moved[1], noisy[1]), "there and back again is no step"


def test_the_deviation_is_what_keeps_the_variance_of_a_noisier_step():
    """A stochastic step of the sampler from `then` down to `now` with eta 1 is the posterior of the noising; it has this deviation."""
    now, then = torch.tensor([10, 300, 500]), torch.tensor([90, 300, 501])
    abar, abar_then = column(SCHEDULE.signal[now] ** 2), column(SCHEDULE.signal[then] ** 2)
    expected = ((1 - abar) / (1 - abar_then) * (1 - abar_then / abar)).sqrt()
    found = ddim_deviation(torch.zeros(3, 1, 1, 1, dtype=torch.float64), SCHEDULE, now, then)
    torch.testing.assert_close(found, expected)
    assert found[1] == 0


def test_the_deviation_of_a_flow_is_that_of_its_step_back():
    """x_now given x_then and x_0 has the variance v w / (v + w), of its own noise v and what a step adds, w, seen from x_now."""
    flow = flow_matching(torch.tensor([0.2, 0.6], dtype=torch.float64))
    like, now, then = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0]), torch.tensor([1])
    own, added = 0.2**2, (0.6**2 - (0.4 / 0.8) ** 2 * 0.2**2) / (0.4 / 0.8) ** 2
    found = ddim_deviation(like, flow, now, then)
    assert float(found) == pytest.approx((own * added / (own + added)) ** 0.5, rel=1e-12)


def test_many_inversions_follow_the_probability_flow_of_gaussian_data():
    latents = normal(4, 3, 4, 4)
    noise = inverted_noise(latents, DATA.eps, SCHEDULE, T, T, 1000, 0.0, draws())
    expected = DATA.along_the_flow(latents, first_time(SCHEDULE), T)
    torch.testing.assert_close(add_noise(latents, noise, SCHEDULE, T), expected, rtol=5e-3, atol=5e-3)


def test_inversion_takes_the_leading_steps_before_the_time_and_one_to_the_end():
    seen = []

    def predict(noisy, t):
        seen.append(t.tolist())
        return DATA.eps(noisy, t)

    t, last = torch.tensor([250, 620]), torch.tensor([330, 640])
    inverted_noise(normal(2, 3, 4, 4), predict, SCHEDULE, t, last, 5, 0.0, draws())
    begin = first_time(SCHEDULE)
    assert seen == [[begin, begin], [200, 200], [330, 400], [330, 600]]


def test_an_inversion_is_the_steps_by_hand_with_their_noise():
    latents, t, last = normal(2, 3, 4, 4), torch.tensor([450, 450]), torch.tensor([520, 520])
    found = inverted_noise(latents, DATA.eps, SCHEDULE, t, last, 4, 0.3, draws(5))
    noisy, now, generator = SCHEDULE.signal[first_time(SCHEDULE)] * latents, first_time(SCHEDULE), draws(5)
    for then in (250, 520):
        start, end = torch.tensor([now] * 2), torch.tensor([then] * 2)
        fresh = torch.randn(latents.shape, generator=generator).double()
        noisy = ddim_step(noisy, DATA.eps(noisy, start), SCHEDULE, start, end) + 0.3 * ddim_deviation(noisy, SCHEDULE, start, end) * fresh
        now = then
    torch.testing.assert_close(found, (noisy - SCHEDULE.signal[520] * latents) / SCHEDULE.noise[520], rtol=1e-12, atol=1e-12)


def test_a_model_of_clean_images_stays_finite_at_the_lowest_times():
    """Its eps is (x_t - signal x0_hat) / noise, here of an image that it does not agree with."""

    def predict(noisy, t):
        signal, noise = SCHEDULE.at(t, noisy)
        return (noisy - signal * 0.5) / noise

    t = torch.tensor([0, 3, 40])
    noise = inverted_noise(normal(3, 3, 4, 4), predict, SCHEDULE, t, t, 10, 0.3, draws())
    assert noise.isfinite().all()
    assert noise.abs().max() < 10 / LEAST_NOISE
    assert torch.equal(noise[:2], torch.zeros_like(noise[:2])), "no way to go"


def test_ends_lie_up_to_a_step_beyond_and_are_shared_by_views_seen_together():
    t = torch.full((400,), 950)
    ends = draw_ends(t, 1000, 10, draws(), together=4)
    assert ends.min() == 950
    assert ends.max() == 999, "the last time there is"
    assert torch.equal(ends, ends[::4].repeat_interleave(4))
    assert draw_ends(t - 500, 1000, 10, draws()).max() in range(540, 550)


def by_hand(latents, guided, without, t, s, inversions):
    """The interval's score with every step written out."""
    begin = first_time(SCHEDULE)
    noisy, now = SCHEDULE.signal[begin] * latents, begin
    for step in range(1, inversions + 1):
        then = begin + (s - begin) * step // inversions
        noisy = ddim_step(noisy, without.eps(noisy, torch.tensor([now])), SCHEDULE, torch.tensor([now]), torch.tensor([then]))
        now = then
    before = without.eps(noisy, torch.tensor([s]))
    noisy = ddim_step(noisy, before, SCHEDULE, torch.tensor([s]), torch.tensor([t]))
    return guided.eps(noisy, torch.tensor([t])) - before


def test_the_interval_score_is_the_steps_by_hand():
    latents, words = normal(2, 3, 4, 4), Gaussian(1.0, 0.2)
    t = torch.tensor([400, 777])
    found, times = interval_score(latents, words.eps, DATA.eps, SCHEDULE, t, 50, 5)
    expected = torch.cat([by_hand(latents[i : i + 1], words, DATA, int(t[i]), int(t[i]) - 50, 5) for i in range(2)])
    assert torch.equal(times, t)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_interval_score_of_gaussian_data_is_its_closed_form_along_the_flow():
    """With many steps x_s and x_t lie on the flow, where the score is known; the two times' own difference is part of it."""
    latents, words = normal(3, 3, 4, 4), Gaussian(1.0, 0.4)
    t = torch.tensor([300, 500, 800])
    found, _ = interval_score(latents, words.eps, DATA.eps, SCHEDULE, t, 1, 300)
    x_s, x_t = (DATA.along_the_flow(latents, first_time(SCHEDULE), time) for time in (t - 1, t))
    torch.testing.assert_close(found, words.eps(x_t, t) - DATA.eps(x_s, t - 1), rtol=2e-2, atol=1e-2)


def test_words_that_say_nothing_leave_only_what_the_interval_itself_makes():
    latents, t = normal(2, 3, 4, 4), torch.tensor([400, 700])
    same, _ = interval_score(latents, DATA.eps, DATA.eps, SCHEDULE, t, 50, 5)
    words, _ = interval_score(latents, Gaussian(0.8, 0.4).eps, DATA.eps, SCHEDULE, t, 50, 5)
    assert same.abs().mean() < 0.2 * words.abs().mean()


def test_times_before_the_first_are_raised_to_it():
    found, t = interval_score(normal(2, 3, 4, 4), DATA.eps, DATA.eps, SCHEDULE, torch.tensor([0, 500]), 50, 5)
    assert t.tolist() == [first_time(SCHEDULE), 500]
    assert found.isfinite().all()


def test_the_weight_is_noise_over_signal():
    t = torch.tensor([100, 500, 900])
    torch.testing.assert_close(interval_weight(SCHEDULE, t), torch.tan(torch.linspace(0.01, 1.56, 1000, dtype=torch.float64))[t])
    assert math.isfinite(float(interval_weight(SCHEDULE, torch.tensor([999]))))


@pytest.mark.parametrize("inversions", [1, 3, 100])
def test_any_number_of_inversions_ends_where_it_should(inversions):
    """With data of no spread the model always sees the same clean image: every way to t is one straight step."""
    point, latents = Gaussian(0.7, 0.0), normal(4, 3, 4, 4)
    noise = inverted_noise(latents, point.eps, SCHEDULE, T, T, inversions, 0.0, draws())
    begin = first_time(SCHEDULE)
    eps = SCHEDULE.signal[begin] * (latents - 0.7) / SCHEDULE.noise[begin]
    torch.testing.assert_close(add_noise(latents, noise, SCHEDULE, T), add_noise(torch.full_like(latents, 0.7), eps, SCHEDULE, T))
