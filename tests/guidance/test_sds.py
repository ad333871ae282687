"""Score distillation against closed forms: for Gaussian data the score is affine, so gradients are known exactly."""

import math

import pytest
import torch
from loss_steps import step_of

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.answers import convert
from dreamfusion_mesh.guidance.losses.sds import distill, noise_residual, sds_loss
from dreamfusion_mesh.guidance.schedule import variance_preserving
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.records.diffusion import Answers
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.views import plain_views

ALPHA_BAR = torch.cos(torch.linspace(0.02, 1.55, 50, dtype=torch.float64)).square()
SCHEDULE = variance_preserving(ALPHA_BAR)
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
    sds_loss(latents, noise_residual(latents, predict, SCHEDULE, t, noise), SCHEDULE, t, weighting).backward()
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
    clean = convert(_gaussian_score(noisy, t), noisy, SCHEDULE, t, "epsilon", "sample")
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


class _Score:
    """A ScoreModel of Gaussian data whose latents are the images themselves."""

    schedule, together, warnings = SCHEDULE, 1, ()

    def __init__(self, spoil=0.0):
        self.spoil, self.seen = spoil, []

    def encode(self, images):
        return images.permute(0, 3, 1, 2)

    def answer(self, noisy, t, views):
        self.seen.append((noisy, t, views))
        return Answers("epsilon", _gaussian_score(noisy, t) + self.spoil)


def _distill(model, images, seed=0, progress=0.25):
    views = plain_views(turntable(2, 0.2, 2.6, 0.7, 4, 4, "cpu"), Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
    draws = torch.Generator().manual_seed(seed)
    step = step_of(images, views, (0.1, 0.1), (0.9, 0.5), progress, draws)
    return distill(model, step, GuidanceSettings(weighting="uniform")), views


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
    torch.testing.assert_close(images.grad, residual.permute(0, 2, 3, 1) / (2 * 4 * 4 * 3), rtol=1e-9, atol=1e-9)
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


def test_guidance_and_weight_of_the_settings_are_applied():
    """Three known predictions: the gradient is that of guidance by hand."""

    class Guided(_Score):
        def answer(self, noisy, t, views):
            self.seen.append((noisy, t, views))
            return Answers("epsilon", text=noisy + 1, uncond=noisy, others=(noisy.flip(2),))

    images, model = _normal(2, 4, 4, 3).requires_grad_(), Guided()
    settings = GuidanceSettings(scale=7.0, perp_neg=0.5, weighting="sqrt_one_minus_alpha_bar")
    views = plain_views(turntable(2, 0.2, 2.6, 0.7, 4, 4, "cpu"), Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
    seen = step_of(images, views, (0.1, 0.1), (0.9, 0.5), 0.25, torch.Generator().manual_seed(0))
    distill(model, seen, settings).loss.backward()
    noisy, t, _ = model.seen[0]
    a, s = _column(ALPHA_BAR[t].sqrt()), _column((1 - ALPHA_BAR[t]).sqrt())
    noise = (noisy - a * images.detach().permute(0, 3, 1, 2)) / s
    away = noisy.flip(2) - noisy
    across = away - away.mean((1, 2, 3), keepdim=True)  # what is perpendicular to text - uncond, which is 1 everywhere
    expected = s * (noisy + 7 * (1 - 0.5 * across) - noise) / (2 * 4 * 4 * 3)
    torch.testing.assert_close(images.grad, expected.permute(0, 2, 3, 1), rtol=1e-9, atol=1e-9)


class _Family:
    """A model of images [B, 64, 64, 3] that wants them `delta` darker, whatever its latents: `channels` of them, `factor` times smaller.

    A latent value is the mean of the pixels below it, so a change of brightness moves each latent value by as much.
    """

    schedule, together, warnings = SCHEDULE, 1, ()

    def __init__(self, channels, factor, delta=0.25):
        self.channels, self.factor, self.delta = channels, factor, delta

    def encode(self, images):
        pixels = torch.nn.functional.avg_pool2d(images.permute(0, 3, 1, 2), self.factor)
        self.latents = torch.cat([pixels] * 6, dim=1)[:, : self.channels]
        return self.latents

    def answer(self, noisy, t, views):
        return Answers("sample", self.latents.detach() - self.delta)


FAMILIES = {"pixels": (3, 1), "pixels folded": (12, 2), "4 latent channels": (4, 8), "16 latent channels": (16, 8)}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_ratio_of_sds_to_a_regulariser_does_not_depend_on_the_family(family):
    """Gradients in the brightness of the images, of SDS and of a mean over pixels, as each regulariser is one."""
    brightness = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    images = _normal(2, 64, 64, 3) * 0.1 + brightness
    views = plain_views(turntable(2, 0.2, 2.6, 0.7, 4, 4, "cpu"), Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
    settings = GuidanceSettings(weighting="sqrt_one_minus_alpha_bar")
    seen = step_of(images, views, (0.1, 0.1), (0.9, 0.5), 0.25, torch.Generator().manual_seed(0))
    step = distill(_Family(*FAMILIES[family]), seen, settings)
    sds, regulariser = (torch.autograd.grad(loss, brightness, retain_graph=True)[0] for loss in (step.loss, images.mean()))
    # With this weight SDS pulls by signal (x - x0_hat), and x0_hat is delta below x everywhere.
    torch.testing.assert_close(sds / regulariser, 0.25 * SCHEDULE.signal[step.t].mean(), rtol=1e-9, atol=0)
