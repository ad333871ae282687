"""Guidance as algebra: conversions by their definitions, scales 0 and 1, what Perp-Neg takes off, what rescaling restores."""

import pytest
import torch
from guided import column
from guided import normal as normal_of

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.answers import convert, guide, guided_noise, rescale
from dreamfusion_mesh.guidance.schedule import add_noise, flow_matching, variance_preserving
from dreamfusion_mesh.records.diffusion import Answers

SCHEDULE = variance_preserving(torch.cos(torch.linspace(0.02, 1.55, 50, dtype=torch.float64)).square())
KINDS = ("epsilon", "sample", "v_prediction")


def normal(*shape, seed=0):
    return normal_of(*shape, seed=seed, dtype=torch.float64)


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_predictions_convert_as_their_definitions_say_and_back(source, target):
    clean, noise, t = normal(5, 3, 4, 4), normal(5, 3, 4, 4, seed=1), torch.tensor([0, 9, 25, 40, 49])
    a, s = column(SCHEDULE.signal[t]), column(SCHEDULE.noise[t])
    noisy = a * clean + s * noise
    kinds = {"epsilon": noise, "sample": clean, "v_prediction": a * noise - s * clean}
    made = convert(kinds[source], noisy, SCHEDULE, t, source, target)
    torch.testing.assert_close(made, kinds[target], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(convert(made, noisy, SCHEDULE, t, target, source), kinds[source], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("source", "target"), [("score", "epsilon"), ("flow", "v_prediction"), ("v_prediction", "flow")])
def test_predictions_that_are_unknown_or_of_two_schedules_are_refused(source, target):
    with pytest.raises(ValueError, match=f"source '{source}', target '{target}'"):
        convert(torch.zeros(1, 1), torch.zeros(1, 1), SCHEDULE, torch.tensor([5]), source, target)


FLOW = flow_matching(torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64))
HAND_WORKED = {  # of x_0 = 2 and eps = -1, so that v = eps - x_0 = -3, at the times 1/4 and 1/2
    "noisy": [0.75 * 2 - 0.25, 0.5 * 2 - 0.5],
    "epsilon": [-1.0, -1.0],
    "sample": [2.0, 2.0],
    "flow": [-3.0, -3.0],
}


@pytest.mark.parametrize("source", ["epsilon", "sample", "flow"])
@pytest.mark.parametrize("target", ["epsilon", "sample", "flow"])
def test_a_flows_predictions_convert_as_worked_by_hand(source, target):
    values = {name: torch.tensor(numbers, dtype=torch.float64)[:, None] for name, numbers in HAND_WORKED.items()}
    t = torch.tensor([0, 1])
    torch.testing.assert_close(add_noise(values["sample"], values["epsilon"], FLOW, t), values["noisy"])
    torch.testing.assert_close(convert(values[source], values["noisy"], FLOW, t, source, target), values[target])


def test_a_flows_guided_noise_is_worked_by_hand():
    """At time 1/4, x = 1: v of -2 without words and -1 with them, scale 3, is v = 1; eps = x + 3/4 v = 1.75."""
    one, t = torch.ones(1, 1, dtype=torch.float64), torch.tensor([0])
    answers = Answers("flow", -one, -2 * one)
    found = guided_noise(answers, one, FLOW, t, GuidanceSettings(scale=3.0))
    torch.testing.assert_close(found, 1.75 * one)


def test_guidance_scale_zero_is_unconditional_and_one_is_the_text():
    uncond, text = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1)
    assert torch.equal(guide(uncond, text, 0.0), uncond)
    torch.testing.assert_close(guide(uncond, text, 1.0), text, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(guide(uncond, text, 7.5), -6.5 * uncond + 7.5 * text)


@pytest.mark.parametrize("kind", ["sample", "v_prediction"])
@pytest.mark.parametrize("perp_neg", [0.0, 1.5])
def test_guiding_any_kind_of_prediction_is_guiding_eps(kind, perp_neg):
    uncond, text, other, noisy = (normal(3, 3, 4, 4, seed=seed) for seed in range(4))
    t = torch.tensor([4, 22, 45])
    on_kind = convert(guide(uncond, text, 7.5, [other], perp_neg), noisy, SCHEDULE, t, kind, "epsilon")
    uncond, text, other = (convert(value, noisy, SCHEDULE, t, kind, "epsilon") for value in (uncond, text, other))
    on_eps = guide(uncond, text, 7.5, [other], perp_neg)
    torch.testing.assert_close(on_kind, on_eps, rtol=1e-10, atol=1e-10)


def test_perp_neg_takes_off_what_is_perpendicular_to_the_text_alone():
    uncond, text, other = (normal(3, 3, 4, 4, seed=seed) for seed in range(3))
    toward, away = text - uncond, other - uncond
    taken = guide(uncond, text, 5.0) - guide(uncond, text, 5.0, [other], 0.7)
    across = taken / (5.0 * 0.7)
    torch.testing.assert_close((across * toward).flatten(1).sum(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    along = away - across
    lengths = [value.flatten(1).norm(dim=1) for value in (along, toward)]
    torch.testing.assert_close((along * toward).flatten(1).sum(1).abs(), lengths[0] * lengths[1])  # parallel


def test_perp_neg_of_several_others_takes_off_each_ones_share():
    uncond, text, first, second = (normal(3, 3, 4, 4, seed=seed) for seed in range(4))
    plain = guide(uncond, text, 5.0)
    taken = [plain - guide(uncond, text, 5.0, others, 0.7) for others in ([first], [second], [first, second])]
    torch.testing.assert_close(taken[2], taken[0] + taken[1])


def test_perp_neg_leaves_words_that_say_the_same_alone():
    uncond, text = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1)
    plain = guide(uncond, text, 5.0)
    for other in (text, uncond, uncond - 2 * (text - uncond)):
        torch.testing.assert_close(guide(uncond, text, 5.0, [other], 3.0), plain)
    assert torch.equal(guide(uncond, uncond, 5.0, [text], 1.0), uncond - 5.0 * (text - uncond)), "no words to go along with"


def test_full_rescaling_restores_the_texts_deviation_and_half_goes_half_way():
    guided, text = 5 * normal(3, 3, 8, 8) + 1, normal(3, 3, 8, 8, seed=1)
    deviation = [value.flatten(1).std(dim=1) for value in (rescale(guided, text, share) for share in (0.0, 0.5, 1.0))]
    wanted = text.flatten(1).std(dim=1)
    torch.testing.assert_close(deviation[2], wanted)
    torch.testing.assert_close(deviation[1], (deviation[0] + wanted) / 2)
    assert torch.equal(rescale(guided, text, 0.0), guided)


@pytest.mark.parametrize("kind", KINDS)
def test_guided_noise_guides_and_rescales_the_models_own_prediction_then_converts(kind):
    uncond, text, other, noisy = (normal(3, 3, 4, 4, seed=seed) for seed in range(4))
    t, settings = torch.tensor([4, 22, 45]), GuidanceSettings(scale=7.5, perp_neg=0.4, rescale=0.6)
    guided = rescale(guide(uncond, text, 7.5, [other], 0.4), text, 0.6)
    expected = convert(guided, noisy, SCHEDULE, t, kind, "epsilon")
    assert torch.equal(guided_noise(Answers(kind, text, uncond, (other,)), noisy, SCHEDULE, t, settings), expected)


def test_an_answer_without_uncond_is_taken_as_it_is():
    text, noisy, t = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1), torch.tensor([4, 22])
    settings = GuidanceSettings(scale=50.0, perp_neg=1.0, rescale=0.5)
    assert torch.equal(guided_noise(Answers("epsilon", text), noisy, SCHEDULE, t, settings), text)
    clean = guided_noise(Answers("sample", text), noisy, SCHEDULE, t, settings)
    assert torch.equal(clean, convert(text, noisy, SCHEDULE, t, "sample", "epsilon"))


def test_perp_neg_without_others_is_an_error_rather_than_left_out():
    text, uncond, t = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1), torch.tensor([4, 22])
    with pytest.raises(ValueError, match=r"no others, expected some with guidance\.perp_neg 1"):
        guided_noise(Answers("epsilon", text, uncond), text, SCHEDULE, t, GuidanceSettings(perp_neg=1.0))
