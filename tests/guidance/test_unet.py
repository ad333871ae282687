"""U-Net models from folders: the score of each kind follows its definition, each view gets its own text, nothing learns."""

import math

import pytest
import torch
from guided import asked, bind, load, normal, score, views_around
from loss_steps import step_of

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.answers import guide
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.views import plain_views


def test_each_prediction_type_gives_eps_by_its_definition(folders):
    noisy, t, views = normal(3, 3, 8, 8), torch.tensor([50, 400, 900]), views_around(3)
    models = {kind: bind(folders[kind]) for kind in ("epsilon", "v_prediction", "sample")}
    signal, sigma = models["epsilon"].schedule.at(t, noisy)
    raw = score(models["epsilon"], noisy, t, views)
    for kind, expected in {"v_prediction": signal * raw + sigma * noisy, "sample": (noisy - signal * raw) / sigma}.items():
        torch.testing.assert_close(score(models[kind], noisy, t, views), expected, rtol=1e-5, atol=1e-5)


def test_answers_are_the_raw_predictions_with_and_without_text(folders):
    model, noisy, t = bind(folders["v_prediction"]), normal(2, 3, 8, 8), torch.tensor([100, 700])
    answers = model.answer(noisy, t, views_around(2))
    assert (answers.prediction, answers.others) == ("v_prediction", ())
    for given, predicted in ((model.text.states[[0, 2]], answers.text), (model.negative.states.expand(2, -1, -1), answers.uncond)):
        torch.testing.assert_close(predicted, asked(model, noisy, t, given), rtol=1e-5, atol=1e-6)


def test_guidance_mixes_the_predictions_with_and_without_text(folders):
    noisy, t, views = normal(2, 3, 8, 8), torch.tensor([100, 700]), views_around(2)
    at = {scale: score(bind(folders["epsilon"], scale=scale), noisy, t, views) for scale in (0.0, 1.0, 7.5)}
    assert not torch.equal(at[0.0], at[1.0])
    torch.testing.assert_close(at[7.5], at[0.0] + 7.5 * (at[1.0] - at[0.0]), rtol=1e-4, atol=1e-5)


def test_a_negative_prompt_replaces_the_empty_one(folders):
    noisy, t, views = normal(1, 3, 8, 8), torch.tensor([300]), views_around(1)
    negative = bind(folders["epsilon"], scale=0.0, negative_prompt="a blue table, front view")
    positive = bind(folders["epsilon"], "a blue table", scale=1.0)
    torch.testing.assert_close(score(negative, noisy, t, views), score(positive, noisy, t, views), rtol=1e-5, atol=1e-5)


def test_perp_neg_keeps_away_from_the_text_of_each_other_view_in_turn(folders):
    noisy, views = normal(4, 3, 8, 8), views_around(4)
    model = bind(folders["epsilon"], scale=4.0, perp_neg=0.5)
    own, texts = [0, 1, 2, 1], [f"a red mug, {words} view" for words in ("front", "side", "back", "overhead")]
    met = []
    for time in (500, 501, 502):
        other = [(row + 1 + time % 3) % 4 for row in own]
        met.append(other)
        t, words = torch.full((4,), time), model.model.text.encode(texts).states
        uncond, text, away = (
            asked(model, noisy, t, given) for given in (model.negative.states.expand(4, -1, -1), words[own], words[other])
        )
        torch.testing.assert_close(score(model, noisy, t, views), guide(uncond, text, 4.0, [away], 0.5), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(text, away, atol=1e-3)
    assert [sorted({*others, row}) for others, row in zip(zip(*met, strict=True), own, strict=True)] == [[0, 1, 2, 3]] * 4


def test_each_view_gets_its_own_text_whatever_the_batch(folders):
    model = bind(folders["epsilon"])
    azimuth = torch.tensor([0.0, math.pi / 2, math.pi, 0.3, 0.0])
    elevation = torch.tensor([0.0, 0.0, 0.0, 1.2, 0.0])
    cameras = orbit(azimuth, elevation, torch.full((5,), 2.6), torch.full((5,), 0.7), 8, 8)
    views = plain_views(cameras, Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
    views.shading[4] = Shading.TEXTURELESS
    noisy, t = normal(1, 3, 8, 8).expand(5, 3, 8, 8), torch.full((5,), 500)
    got = score(model, noisy, t, views)
    texts = [f"a red mug, {words} view" for words in ("front", "side", "back", "overhead")] + ["a grey clay mug, front view"]
    words, none = model.model.text.encode(texts).states, model.model.text.encode([""]).states
    uncond, text = asked(model, noisy, t, none.expand_as(words)), asked(model, noisy, t, words)
    torch.testing.assert_close(got, uncond + model.settings.scale * (text - uncond), rtol=1e-4, atol=1e-5)
    assert len({tuple(row.flatten().tolist()) for row in got}) == 5


def test_a_learned_variance_is_left_aside(folders):
    model = bind(folders["variance"])
    noisy, t = normal(2, 3, 8, 8), torch.tensor([100, 700])
    assert score(model, noisy, t, views_around(2)).shape == noisy.shape
    whole = model.model.denoiser.network(noisy, t, encoder_hidden_states=model.text.states[:2]).sample
    assert torch.equal(asked(model, noisy, t, model.text.states[:2]), whole[:, :3])


@pytest.mark.parametrize("kind", ["epsilon", "latent"])
def test_distilling_twice_from_one_seed_gives_the_same_bits(folders, kind):
    model = bind(folders[kind])
    settings = GuidanceSettings(weighting="sqrt_one_minus_alpha_bar")
    gradients = []
    for _ in range(2):
        images = torch.full((2, 16, 16, 3), 0.5, requires_grad=True)
        draws = torch.Generator().manual_seed(5)
        step = distill(model, step_of(images, views_around(2), (0.02, 0.02), (0.98, 0.5), 0.5, draws), settings)
        step.loss.backward()
        assert step.finite
        gradients.append(images.grad)
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


def test_the_schedule_is_the_folders_betas(folders):
    betas = torch.linspace(0.0001**0.5, 0.02**0.5, 1000, dtype=torch.float64).square()
    schedule = load(folders["epsilon"]).schedule
    assert len(schedule) == 1000
    alpha_bar = (1 - betas).cumprod(0)
    torch.testing.assert_close(schedule.signal.double(), alpha_bar.sqrt(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(schedule.noise.double(), (1 - alpha_bar).sqrt(), rtol=1e-4, atol=1e-6)


def test_nothing_of_a_loaded_model_learns(folders):
    latent = load(folders["latent"])
    for network in (latent.denoiser.network, latent.text.readers[0].encoder._network, latent.latents.vae):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_answers_carry_no_graph(folders):
    noisy = normal(2, 3, 8, 8).requires_grad_()
    answers = bind(folders["epsilon"]).answer(noisy, torch.tensor([100, 700]), views_around(2))
    assert not answers.text.requires_grad
    assert not answers.uncond.requires_grad
