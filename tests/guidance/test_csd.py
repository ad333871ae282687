"""Classifier score distillation against closed forms, and which mode of two it seeks."""

import pytest
import torch
from analytic_scores import SCHEDULE, Gaussian, Mixture
from guided import column
from guided import normal as normal_of

from dreamfusion_mesh.guidance.answers import convert
from dreamfusion_mesh.guidance.losses.csd import classifier_score, negative_share
from dreamfusion_mesh.guidance.schedule import add_noise
from dreamfusion_mesh.records.diffusion import Answers

ALL, WORDS, NEGATIVE = Gaussian(0.0, 1.0), Gaussian(0.5, 1.0), Gaussian(-0.8, 1.0)
T = torch.tensor([60, 300, 620, 900])


def normal(*shape, seed=0):
    return normal_of(*shape, seed=seed, dtype=torch.float64)


def answers(noisy, negative=True, kind="epsilon"):
    each = [convert(data.eps(noisy, T), noisy, SCHEDULE, T, "epsilon", kind) for data in (WORDS, ALL, NEGATIVE)]
    return Answers(kind, each[0], each[1], negative=each[2] if negative else None)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("share", [1.0, 0.75, 0.5, 0.0])
def test_the_score_of_gaussians_that_differ_in_their_mean_is_constant(kind, share):
    """eps = noise (x_t - signal mean) / variance, so differences of means alone are left, whatever x_t and its noise are."""
    noisy = normal(4, 3, 4, 4)
    signal, noise = column(SCHEDULE.signal[T]), column(SCHEDULE.noise[T])
    expected = noise * signal * (share * NEGATIVE.mean + (1 - share) * ALL.mean - WORDS.mean) / (signal**2 + noise**2)
    found = classifier_score(answers(noisy, kind=kind), noisy, SCHEDULE, T, share)
    torch.testing.assert_close(found, expected.expand_as(found), rtol=1e-9, atol=1e-10)


def test_without_negative_words_it_is_the_texts_score_over_the_one_without_words():
    noisy = normal(4, 3, 4, 4)
    found = classifier_score(answers(noisy, negative=False), noisy, SCHEDULE, T, 0.7)
    torch.testing.assert_close(found, WORDS.eps(noisy, T) - ALL.eps(noisy, T), rtol=1e-12, atol=1e-12)


def test_perp_neg_takes_off_what_is_perpendicular_to_the_words():
    noisy = normal(4, 3, 4, 4)
    given = answers(noisy, negative=False)
    other = normal(4, 3, 4, 4, seed=3)
    found = classifier_score(Answers("epsilon", given.text, given.uncond, (other,)), noisy, SCHEDULE, T, 1.0, 0.7)
    direction, away = given.text - given.uncond, other - given.uncond
    along = (away * direction).flatten(1).sum(1) / direction.square().flatten(1).sum(1)
    torch.testing.assert_close(found, direction - 0.7 * (away - column(along) * direction), rtol=1e-10, atol=1e-12)


def test_the_negative_share_falls_linearly():
    assert [negative_share((1.0, 0.5), progress) for progress in (0, 0.5, 1)] == [1.0, 0.75, 0.5]


def test_answers_of_the_text_alone_are_refused():
    with pytest.raises(ValueError, match="no uncond"):
        classifier_score(Answers("epsilon", normal(4, 3, 4, 4)), normal(4, 3, 4, 4), SCHEDULE, T, 1.0)


LEFT, RIGHT = Gaussian(-1.0, 0.1), Gaussian(1.0, 0.1)
BOTH = Mixture(LEFT, RIGHT)


def descended(start, negative=None, steps=300):
    """Where plain descent on the score's expected sign ends, from a value `start`; times are drawn."""
    draws, value = torch.Generator().manual_seed(0), torch.tensor([[[[start]]]], dtype=torch.float64)
    for _ in range(steps):
        t = torch.randint(300, 950, (64,), generator=draws)
        noise = torch.randn(64, 1, 1, 1, generator=draws, dtype=torch.float64)
        noisy = add_noise(value.expand(64, 1, 1, 1), noise, SCHEDULE, t)
        given = Answers("epsilon", RIGHT.eps(noisy, t), BOTH.eps(noisy, t), negative=None if negative is None else negative.eps(noisy, t))
        value = value - 0.02 * classifier_score(given, noisy, SCHEDULE, t, 1.0).mean().reshape(1, 1, 1, 1)
    return float(value)


def test_it_seeks_the_mode_that_the_words_name():
    """SDS without guidance stays in whichever mode it is in; the words' score leads to theirs from the other one."""
    for start in (-1.0, 0.0):
        assert descended(start) > 0.5


def test_it_stops_where_the_words_make_nothing_likelier():
    """In the words' own mode the mixture's score is the mode's, so there is nothing left to go for."""
    noisy, t = add_noise(torch.ones(64, 1, 1, 1).double(), normal(64, 1, 1, 1), SCHEDULE, torch.full((64,), 60)), torch.full((64,), 60)
    given = Answers("epsilon", RIGHT.eps(noisy, t), BOTH.eps(noisy, t))
    assert classifier_score(given, noisy, SCHEDULE, t, 1.0).abs().max() < 1e-6


def test_with_the_other_mode_as_negative_words_it_goes_on_beyond_the_mode():
    assert descended(0.0, negative=LEFT) > descended(0.0) + 0.2
