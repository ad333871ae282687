"""Score distillation against closed forms: for Gaussian data the score is affine, so gradients are known exactly."""

import math

import pytest
import torch

from dreamfusion_mesh.guidance.losses.sds import convert, distill, draw_timesteps, guide, rescale, sds_loss, timestep_range, weight
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.views import plain_views

ALPHA_BAR = torch.cos(torch.linspace(0.02, 1.55, 50, dtype=torch.float64)).square()
KINDS = ("epsilon", "sample", "v_prediction")
WEIGHTS = ("one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform")
MEAN, SPREAD = 0.3, 0.4


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _column(values):
    return values[:, None, None, None]


def _gaussian_score(noisy, t):
    """eps_hat for clean data N(MEAN, SPREAD^2): noise's share of the distance of x_t from its mean."""
    abar = _column(ALPHA_BAR[t])
    return (1 - abar).sqrt() * (noisy - abar.sqrt() * MEAN) / (abar * SPREAD**2 + 1 - abar)


def _gradient(latents, t, noise, weighting, predict=_gaussian_score):
    latents = latents.clone().requires_grad_()
    sds_loss(latents, predict, ALPHA_BAR, t, noise, weighting).backward()
    return latents.grad


@pytest.mark.parametrize("weighting", WEIGHTS)
def test_the_gradient_is_the_closed_form_sample_by_sample(weighting):
    latents, noise, t = _normal(6, 3, 4, 4), _normal(6, 3, 4, 4, seed=1), torch.tensor([0, 5, 17, 30, 44, 49])
    a, s = _column(ALPHA_BAR[t].sqrt()), _column((1 - ALPHA_BAR[t]).sqrt())
    w = _column({"one_minus_alpha_bar": s[:, 0, 0, 0] ** 2, "sqrt_one_minus_alpha_bar": s[:, 0, 0, 0], "uniform": torch.ones(6)}[weighting])
    expected = w * (s * (a * (latents - MEAN) + s * noise) / (a**2 * SPREAD**2 + s**2) - noise) / 6
    torch.testing.assert_close(_gradient(latents, t, noise, weighting), expected, rtol=1e-12, atol=1e-14)


def test_the_expected_gradient_pulls_towards_the_datas_mean():
    """The score is affine in the noise, so the mean over a noise and its mirror image is the expectation over all noises."""
    latents, noise, t = _normal(4, 3, 4, 4), _normal(4, 3, 4, 4, seed=1), torch.tensor([3, 20, 35, 48])
    both = (_gradient(latents, t, noise, "uniform") + _gradient(latents, t, -noise, "uniform")) / 2
    abar = _column(ALPHA_BAR[t])
    expected = (abar * (1 - abar)).sqrt() * (latents - MEAN) / (abar * SPREAD**2 + 1 - abar) / 4
    torch.testing.assert_close(both, expected, rtol=1e-12, atol=1e-14)


def test_the_square_root_weight_pulls_towards_the_clean_image_it_sees():
    latents, noise, t = _normal(3, 3, 4, 4), _normal(3, 3, 4, 4, seed=1), torch.tensor([3, 20, 48])
    abar = ALPHA_BAR[t]
    noisy = _column(abar.sqrt()) * latents + _column((1 - abar).sqrt()) * noise
    clean = convert(_gaussian_score(noisy, t), noisy, abar, "epsilon", "sample")
    expected = _column(abar.sqrt()) * (latents - clean) / 3
    torch.testing.assert_close(_gradient(latents, t, noise, "sqrt_one_minus_alpha_bar"), expected, rtol=1e-10, atol=1e-13)


def test_the_models_jacobian_is_left_out():
    knob = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def predict(noisy, t):
        answer = knob * noisy**3
        assert not answer.requires_grad
        return answer

    latents, noise, t = _normal(2, 3, 4, 4), _normal(2, 3, 4, 4, seed=1), torch.tensor([10, 40])
    a, s = _column(ALPHA_BAR[t].sqrt()), _column((1 - ALPHA_BAR[t]).sqrt())
    expected = s**2 * (2 * (a * latents + s * noise) ** 3 - noise) / 2
    torch.testing.assert_close(_gradient(latents, t, noise, "one_minus_alpha_bar", predict), expected)
    assert knob.grad is None


def test_a_perfect_guess_of_the_noise_leaves_the_latents_alone():
    noise = _normal(2, 3, 4, 4, seed=1)
    gradient = _gradient(_normal(2, 3, 4, 4), torch.tensor([1, 30]), noise, "uniform", lambda noisy, t: noise)
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_predictions_convert_as_their_definitions_say_and_back(source, target):
    clean, noise, t = _normal(5, 3, 4, 4), _normal(5, 3, 4, 4, seed=1), torch.tensor([0, 9, 25, 40, 49])
    a, s = _column(ALPHA_BAR[t].sqrt()), _column((1 - ALPHA_BAR[t]).sqrt())
    noisy = a * clean + s * noise
    kinds = {"epsilon": noise, "sample": clean, "v_prediction": a * noise - s * clean}
    made = convert(kinds[source], noisy, ALPHA_BAR[t], source, target)
    torch.testing.assert_close(made, kinds[target], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(convert(made, noisy, ALPHA_BAR[t], target, source), kinds[source], rtol=1e-9, atol=1e-10)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="flow"):
        convert(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([0.5]), "flow", "epsilon")
    with pytest.raises(ValueError, match="snr"):
        weight(torch.tensor([0.5]), "snr")


def test_guidance_scale_zero_is_unconditional_and_one_is_the_text():
    uncond, text = _normal(2, 3, 4, 4), _normal(2, 3, 4, 4, seed=1)
    assert torch.equal(guide(uncond, text, 0.0), uncond)
    torch.testing.assert_close(guide(uncond, text, 1.0), text, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(guide(uncond, text, 7.5), -6.5 * uncond + 7.5 * text)


@pytest.mark.parametrize("kind", ["sample", "v_prediction"])
@pytest.mark.parametrize("perp_neg", [0.0, 1.5])
def test_guiding_any_kind_of_prediction_is_guiding_eps(kind, perp_neg):
    uncond, text, other, noisy = (_normal(3, 3, 4, 4, seed=seed) for seed in range(4))
    abar = ALPHA_BAR[torch.tensor([4, 22, 45])]
    on_kind = convert(guide(uncond, text, 7.5, other, perp_neg), noisy, abar, kind, "epsilon")
    uncond, text, other = (convert(value, noisy, abar, kind, "epsilon") for value in (uncond, text, other))
    on_eps = guide(uncond, text, 7.5, other, perp_neg)
    torch.testing.assert_close(on_kind, on_eps, rtol=1e-10, atol=1e-10)


def test_perp_neg_takes_off_what_is_perpendicular_to_the_text_alone():
    uncond, text, other = (_normal(3, 3, 4, 4, seed=seed) for seed in range(3))
    toward, away = text - uncond, other - uncond
    taken = guide(uncond, text, 5.0) - guide(uncond, text, 5.0, other, 0.7)
    across = taken / (5.0 * 0.7)
    torch.testing.assert_close((across * toward).flatten(1).sum(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    along = away - across
    lengths = [value.flatten(1).norm(dim=1) for value in (along, toward)]
    torch.testing.assert_close((along * toward).flatten(1).sum(1).abs(), lengths[0] * lengths[1])  # parallel


def test_perp_neg_leaves_words_that_say_the_same_alone():
    uncond, text = _normal(2, 3, 4, 4), _normal(2, 3, 4, 4, seed=1)
    plain = guide(uncond, text, 5.0)
    for other in (text, uncond, uncond - 2 * (text - uncond)):
        torch.testing.assert_close(guide(uncond, text, 5.0, other, 3.0), plain)
    assert torch.equal(guide(uncond, uncond, 5.0, text, 1.0), uncond - 5.0 * (text - uncond)), "no words to go along with"


def test_full_rescaling_restores_the_texts_deviation_and_half_goes_half_way():
    guided, text = 5 * _normal(3, 3, 8, 8) + 1, _normal(3, 3, 8, 8, seed=1)
    deviation = [value.flatten(1).std(dim=1) for value in (rescale(guided, text, share) for share in (0.0, 0.5, 1.0))]
    wanted = text.flatten(1).std(dim=1)
    torch.testing.assert_close(deviation[2], wanted)
    torch.testing.assert_close(deviation[1], (deviation[0] + wanted) / 2)
    assert torch.equal(rescale(guided, text, 0.0), guided)


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


class _Score:
    """A ScoreModel of Gaussian data whose latents are the images themselves."""

    size = 4
    alpha_bar, together = ALPHA_BAR, 1

    def __init__(self, spoil=0.0):
        self.spoil, self.seen = spoil, []

    def encode(self, images):
        return images.permute(0, 3, 1, 2)

    def score(self, noisy, t, views):
        self.seen.append((noisy, t, views))
        return _gaussian_score(noisy, t) + self.spoil


def _distill(model, images, seed=0, progress=0.25):
    views = plain_views(turntable(2, 0.2, 2.6, 0.7, 4, 4, "cpu"), Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
    draws = torch.Generator().manual_seed(seed)
    return distill(model, images, views, "uniform", (0.1, 0.1), (0.9, 0.5), progress, draws), views


def test_distilling_is_the_loss_at_the_drawn_times_and_noise():
    images, model = _normal(2, 4, 4, 3).requires_grad_(), _Score()
    (step, views) = _distill(model, images)
    step.loss.backward()
    noisy, t, seen = model.seen[0]
    a, s = _column(ALPHA_BAR[t].sqrt()), _column((1 - ALPHA_BAR[t]).sqrt())
    noise = (noisy - a * images.detach().permute(0, 3, 1, 2)) / s
    residual = _gaussian_score(noisy, t) - noise
    assert torch.equal(step.t, t)
    assert seen is views
    assert ((t >= 5) & (t <= 40)).all()
    assert step.finite
    torch.testing.assert_close(images.grad, residual.permute(0, 2, 3, 1) / 2, rtol=1e-9, atol=1e-9)
    assert step.residual == pytest.approx(float(residual.square().mean().sqrt()), rel=1e-9)


def test_the_same_seed_distils_to_the_same_bits():
    images = _normal(2, 4, 4, 3)
    first, again, other = (_distill(_Score(), images, seed)[0] for seed in (3, 3, 4))
    assert torch.equal(first.loss, again.loss)
    assert torch.equal(first.t, again.t)
    assert not torch.equal(first.loss, other.loss)


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
def test_a_model_that_answers_nonsense_is_reported_and_harmless(spoil):
    images = _normal(2, 4, 4, 3).requires_grad_()
    step, _ = _distill(_Score(spoil), images)
    assert not step.finite
    step.loss.backward()
    assert float(step.loss.detach()) == 0
    assert torch.equal(images.grad, torch.zeros_like(images))


def test_one_image_a_view():
    with pytest.raises(ValueError, match="images"):
        _distill(_Score(), _normal(3, 4, 4, 3))
