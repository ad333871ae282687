"""Models from folders: each kind's score follows its definition, images are encoded exactly, and the embedded model means its words."""

import json
import math

import pytest
import torch
from tiny_folders import edit_json, write_folder

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.losses.sds import distill, guide
from dreamfusion_mesh.guidance.models.diffusion import load_guidance
from dreamfusion_mesh.guidance.models.multiview import camera_numbers
from dreamfusion_mesh.guidance.prompts import view_words
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit, turntable
from dreamfusion_mesh.render.views import plain_views
from tools.prior.captions import Scene, Thing
from tools.prior.parts import Draw
from tools.prior.sheet import strip
from tools.prior.world import build


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {
        "epsilon": write_folder(place / "epsilon"),
        "v_prediction": write_folder(place / "velocity", prediction="v_prediction"),
        "sample": write_folder(place / "sample", prediction="sample"),
        "folded": write_folder(place / "folded", channels=12),
        "variance": write_folder(place / "variance", made=6),
        "latent": write_folder(place / "latent", channels=4, vae=True),
        "together": write_folder(place / "together", multiview=True),
    }


@pytest.fixture(scope="module")
def embedded():
    return load_guidance(GuidanceSettings(), "cpu")


def _load(folder, **settings):
    return load_guidance(GuidanceSettings(model=str(folder), **settings), "cpu")


def _views(count, shading=Shading.ALBEDO):
    return plain_views(turntable(count, 0.2, 2.6, 0.7, 8, 8, "cpu"), shading, (1, 1, 1), 0.35, 0.7)


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _column(values):
    return values[:, None, None, None]


def test_models_that_differ_in_what_they_predict_give_eps_by_its_definition(folders):
    noisy, t, views = _normal(3, 3, 8, 8), torch.tensor([50, 400, 900]), _views(3)
    scores = {kind: _load(folders[kind]).for_prompt("a red mug") for kind in ("epsilon", "v_prediction", "sample")}
    abar = _column(scores["epsilon"].alpha_bar[t])
    said = scores["epsilon"].score(noisy, t, views)
    for kind, expected in {
        "v_prediction": abar.sqrt() * said + (1 - abar).sqrt() * noisy,
        "sample": (noisy - abar.sqrt() * said) / (1 - abar).sqrt(),
    }.items():
        torch.testing.assert_close(scores[kind].score(noisy, t, views), expected, rtol=1e-5, atol=1e-5)


def test_guidance_mixes_the_worded_and_the_unworded_prediction(folders):
    noisy, t, views = _normal(2, 3, 8, 8), torch.tensor([100, 700]), _views(2)
    at = {scale: _load(folders["epsilon"], scale=scale).for_prompt("a red mug").score(noisy, t, views) for scale in (0.0, 1.0, 7.5)}
    assert not torch.equal(at[0.0], at[1.0])
    torch.testing.assert_close(at[7.5], at[0.0] + 7.5 * (at[1.0] - at[0.0]), rtol=1e-4, atol=1e-5)


def test_a_negative_prompt_takes_the_place_of_the_empty_one(folders):
    noisy, t, views = _normal(1, 3, 8, 8), torch.tensor([300]), _views(1)
    negative = _load(folders["epsilon"], scale=0.0, negative_prompt="a blue table, front view").for_prompt("a red mug")
    positive = _load(folders["epsilon"], scale=1.0).for_prompt("a blue table")
    torch.testing.assert_close(negative.score(noisy, t, views), positive.score(noisy, t, views), rtol=1e-5, atol=1e-5)


def test_perp_neg_keeps_away_from_what_other_words_say(folders):
    noisy, views = _normal(4, 3, 8, 8), _views(4)
    score = _load(folders["epsilon"], scale=4.0, perp_neg=0.5).for_prompt("a red mug")
    own, texts = [0, 1, 2, 1], [f"a red mug, {words} view" for words in ("front", "side", "back", "overhead")]
    met = []
    for time in (500, 501, 502):
        other = [(row + 1 + time % 3) % 4 for row in own]
        met.append(other)
        t, words = torch.full((4,), time), score.model._read(texts)
        uncond, worded, away = (score.model.predict(noisy, t, said) for said in (score.null.expand(4, -1, -1), words[own], words[other]))
        torch.testing.assert_close(score.score(noisy, t, views), guide(uncond, worded, 4.0, away, 0.5), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(worded, away, atol=1e-3)
    assert [sorted({*others, row}) for others, row in zip(zip(*met, strict=True), own, strict=True)] == [[0, 1, 2, 3]] * 4


def test_perp_neg_keeps_views_seen_together_away_from_one_another(folders):
    """Away from what the model answers where the same noise stands at another view of the group: its words, its camera."""
    noisy, t, views = _normal(8, 3, 8, 8), torch.tensor([300] * 4 + [401] * 4), _views(8)
    views.shading[5] = Shading.TEXTURELESS
    settings = {"multiview": True, "scale": 4.0}
    plain, away = (_load(folders["together"], perp_neg=share, **settings).for_prompt("a red mug") for share in (0.0, 0.5))
    order = [1, 2, 3, 0, 7, 4, 5, 6]
    rows = view_words(views.cameras.azimuth, views.cameras.elevation, 45.0, 50.0)
    clay = torch.tensor([0, 0, 0, 0, 0, 4, 0, 0])
    numbers = camera_numbers(views.cameras.azimuth, views.cameras.elevation)
    uncond = plain.model.predict(noisy, t, plain.null.expand(8, -1, -1), numbers, 4)
    worded = plain.model.predict(noisy, t, plain.words[rows + clay], numbers, 4)
    other = plain.model.predict(noisy, t, plain.words[rows[order] + clay], numbers[order], 4)
    torch.testing.assert_close(away.score(noisy, t, views), guide(uncond, worded, 4.0, other, 0.5), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain.score(noisy, t, views), guide(uncond, worded, 4.0), rtol=1e-4, atol=1e-5)


def test_each_view_gets_its_own_words_whatever_the_batch(folders):
    score = _load(folders["epsilon"]).for_prompt("a red mug")
    azimuth = torch.tensor([0.0, math.pi / 2, math.pi, 0.3, 0.0])
    elevation = torch.tensor([0.0, 0.0, 0.0, 1.2, 0.0])
    cameras = orbit(azimuth, elevation, torch.full((5,), 2.6), torch.full((5,), 0.7), 8, 8)
    views = plain_views(cameras, Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
    views.shading[4] = Shading.TEXTURELESS
    noisy, t = _normal(1, 3, 8, 8).expand(5, 3, 8, 8), torch.full((5,), 500)
    got = score.score(noisy, t, views)
    settings = score.model.settings
    texts = [f"a red mug, {words} view" for words in ("front", "side", "back", "overhead")] + ["a grey clay mug, front view"]
    words, null = score.model._read(texts), score.model._read([""])
    bare, worded = score.model.predict(noisy, t, null.expand_as(words)), score.model.predict(noisy, t, words)
    torch.testing.assert_close(got, bare + settings.scale * (worded - bare), rtol=1e-4, atol=1e-5)
    assert len({tuple(row.flatten().tolist()) for row in got}) == 5


def test_views_seen_together_answer_for_one_another_and_for_no_others(folders):
    noisy, t, views = _normal(8, 3, 8, 8), torch.full((8,), 500), _views(8)
    other = noisy.clone()
    other[1] += 1
    moved = {}
    for together in (False, True):
        score = _load(folders["together"], multiview=together).for_prompt("a red mug")
        change = (score.score(other, t, views) - score.score(noisy, t, views)).flatten(1).abs().amax(1)
        moved[together] = (change > 1e-6).tolist()
    assert moved[False] == [False, True, *[False] * 6]
    assert moved[True] == [True] * 4 + [False] * 4


def test_four_equal_views_are_seen_together_as_each_is_alone(folders):
    """Attention over four copies of a sequence weighs each place by a quarter four times."""
    model = _load(folders["together"])
    noisy, t, words = (
        _normal(1, 3, 8, 8).expand(4, -1, -1, -1),
        torch.full((4,), 300),
        model.for_prompt("a red mug").words[:1].expand(4, -1, -1),
    )
    cameras = camera_numbers(torch.tensor([0.7]), torch.tensor([0.2])).expand(4, -1)
    alone, together = (model.predict(noisy, t, words, cameras, views) for views in (1, 4))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    untold = model.predict(noisy, t, words)
    torch.testing.assert_close(untold, model.predict(noisy, t, words, torch.zeros(4, 5)))
    assert (untold - alone).abs().max() > 1e-3


def test_the_order_of_views_seen_together_does_not_matter(folders):
    score = _load(folders["together"], multiview=True).for_prompt("a red mug")
    order = torch.tensor([2, 0, 3, 1])
    azimuth, elevation, far, wide = torch.tensor([0.1, 1.7, 3.2, 4.8]), torch.tensor([0.1, 0.3, 1.2, -0.1]), *torch.full((2, 4), 2.6)
    first, second = (
        plain_views(orbit(azimuth[rows], elevation[rows], far, wide / 4, 8, 8), Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
        for rows in (torch.arange(4), order)
    )
    noisy, t = _normal(4, 3, 8, 8), torch.full((4,), 500)
    torch.testing.assert_close(score.score(noisy, t, first)[order], score.score(noisy[order], t, second), rtol=1e-4, atol=1e-5)


def test_cameras_are_told_apart_up_to_the_poles_and_turns_are_not():
    azimuth = torch.tensor([0.0, 1.0, 1.0 + 2 * math.pi, 0.0, 1.0])
    elevation = torch.tensor([0.3, 0.3, 0.3, math.pi / 2, math.pi / 2])
    told = camera_numbers(azimuth, elevation)
    assert told.shape == (5, 5)
    assert torch.allclose(told[1], told[2], atol=1e-6)
    apart = torch.cdist(told, told)[[0, 1, 3, 4]][:, [0, 1, 3, 4]]
    assert (apart + torch.eye(4) > 0.5).all()
    positions = orbit(azimuth, elevation, torch.ones(5), torch.ones(5), 8, 8).to_world[:, :3, 3]
    assert torch.allclose(told[:, :3], positions, atol=1e-6)


def test_views_seen_together_share_their_times_and_come_in_fours(folders):
    score = _load(folders["together"], multiview=True).for_prompt("a red mug")
    draws = torch.Generator().manual_seed(5)
    step = distill(score, torch.full((8, 16, 16, 3), 0.5), _views(8), "uniform", (0.02, 0.02), (0.98, 0.98), 0.5, draws)
    assert step.t.reshape(2, 4).unique(dim=1).shape == (2, 1)
    assert step.t[0] != step.t[4]
    with pytest.raises(ValueError, match="multiple of the 4"):
        distill(score, torch.full((2, 16, 16, 3), 0.5), _views(2), "uniform", (0.02, 0.02), (0.98, 0.98), 0.5, draws)


def test_a_model_that_sees_no_views_together_is_refused_where_that_is_asked(folders):
    with pytest.raises(BadInput, match=r"is not a multi-view model; set guidance.multiview=false"):
        _load(folders["epsilon"], multiview=True)


def test_a_learned_variance_is_left_aside(folders):
    score = _load(folders["variance"]).for_prompt("a red mug")
    noisy, t = _normal(2, 3, 8, 8), torch.tensor([100, 700])
    assert score.score(noisy, t, _views(2)).shape == noisy.shape
    whole = score.model.unet(noisy, t, encoder_hidden_states=score.words[:2]).sample
    assert torch.equal(score.model.predict(noisy, t, score.words[:2]), whole[:, :3])


def test_images_of_the_models_size_are_only_mapped_and_folded(folders):
    plain, folded = _load(folders["epsilon"]), _load(folders["folded"])
    assert (plain.size, folded.size, _load(folders["latent"]).size) == (8, 16, 16)
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    latents = folded.encode(images)
    for block_row, block_column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        channels = latents[:, 2 * block_row + block_column :: 4]
        expected = images[:, block_row::2, block_column::2].permute(0, 3, 1, 2) * 2 - 1
        torch.testing.assert_close(channels, expected, rtol=0, atol=1e-7)
    small = images[:, :8, :8]
    torch.testing.assert_close(plain.encode(small), small.permute(0, 3, 1, 2) * 2 - 1, rtol=0, atol=1e-7)


def test_larger_images_are_averaged_and_their_gradient_is_the_averages_adjoint(folders):
    plain = _load(folders["epsilon"])
    images = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = plain.encode(images)
    means = images.detach().reshape(2, 8, 4, 8, 4, 3).mean(dim=(2, 4)).permute(0, 3, 1, 2) * 2 - 1
    torch.testing.assert_close(latents.detach(), means)
    weights = _normal(2, 3, 8, 8)
    (latents * weights).sum().backward()
    spread = weights.permute(0, 2, 3, 1).repeat_interleave(4, dim=1).repeat_interleave(4, dim=2) * 2 / 16
    torch.testing.assert_close(images.grad, spread)


@pytest.mark.parametrize("side", [5, 12, 50])
def test_other_sizes_keep_flat_colours_and_the_gradients_sum(folders, side):
    plain = _load(folders["epsilon"])
    images = torch.tensor([0.2, 0.5, 0.9]).expand(1, side, side, 3).clone().requires_grad_()
    latents = plain.encode(images)
    torch.testing.assert_close(latents, torch.tensor([-0.6, 0.0, 0.8])[None, :, None, None].expand(1, 3, 8, 8))
    latents.sum().backward()
    assert float(images.grad.sum()) == pytest.approx(2 * 3 * 64, rel=1e-5)


def test_images_that_are_not_square_are_refused(folders):
    with pytest.raises(ValueError, match="images"):
        _load(folders["epsilon"]).encode(torch.zeros(1, 8, 9, 3))


def test_a_latent_model_sees_the_vaes_scaled_mean_and_passes_gradients(folders):
    latent = _load(folders["latent"])
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = latent.encode(images)
    mean = latent.vae.encode(images.detach().permute(0, 3, 1, 2) * 2 - 1).latent_dist.mean
    torch.testing.assert_close(latents.detach(), 0.5 * mean)
    latents.square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in latent.vae.parameters())
    assert latent.for_prompt("a red mug").score(latents.detach(), torch.tensor([100, 700]), _views(2)).shape == (2, 4, 8, 8)
    assert sorted(latent.provenance()["files"]) == [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


@pytest.mark.parametrize("kind", ["epsilon", "latent"])
def test_distilling_twice_from_one_seed_gives_the_same_bits(folders, kind):
    score = _load(folders[kind]).for_prompt("a red mug")
    gradients = []
    for _ in range(2):
        images = torch.full((2, 16, 16, 3), 0.5, requires_grad=True)
        draws = torch.Generator().manual_seed(5)
        step = distill(score, images, _views(2), "sqrt_one_minus_alpha_bar", (0.02, 0.02), (0.98, 0.5), 0.5, draws)
        step.loss.backward()
        assert step.finite
        gradients.append(images.grad)
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


def test_nothing_of_a_loaded_model_learns(folders):
    latent = _load(folders["latent"])
    for network in (latent.unet, latent.text_encoder, latent.vae):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_vocabulary_and_merges_of_the_first_models_are_read(folders, tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters), ",</w>"]
    folder = write_folder(tmp_path / "clip")
    tokenizer = folder / "tokenizer"
    (tokenizer / "tokenizer.json").unlink()
    (tokenizer / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    edit_json(tokenizer / "tokenizer_config.json", tokenizer_class="CLIPTokenizer", backend=None, **marks)
    guidance = _load(folder, textureless_words="{subject}")
    assert guidance.tokenizer("a mug").input_ids == [0, 28, 14, 22, 34, 1], "start, a</w>, m, u, g</w>, end"
    assert guidance.for_prompt("a mug").warnings == []
    with pytest.raises(BadInput, match="reads at most 24"):
        guidance.for_prompt("a long prompt in letters")


def test_words_unknown_to_the_model_are_named(embedded):
    assert embedded.for_prompt("a red mug").warnings == []
    assert embedded.for_prompt("A red MUG with white parts").warnings == []
    assert embedded.for_prompt("a red dragon-mug with claws").warnings == ["guidance 'embedded' does not know: dragon, claws"]


def test_a_prompt_of_unknown_words_alone_is_refused_with_those_known(embedded):
    with pytest.raises(BadInput, match=r"knows none of: shiny, dragon; it knows: .*mug, mushroom.*yellow") as caught:
        embedded.for_prompt("a shiny dragon with parts")
    assert "<" not in str(caught.value)


def test_a_prompt_of_too_many_tokens_is_refused_never_cut(embedded):
    fits = "a large striped red mushroom with a white stem on a spotted blue table with green legs and parts"
    assert embedded.for_prompt(fits).words.shape == (8, 24, 128)
    with pytest.raises(BadInput, match=r"has 25 tokens .*at most 24; shorten it by 1"):
        embedded.for_prompt(f"{fits} on")
    with pytest.raises(BadInput, match=r"grey.*at most 24"):
        load_guidance(GuidanceSettings(textureless_words="a grey grey grey grey clay {prompt}"), "cpu").for_prompt(fits)


def test_provenance_names_the_model_its_licence_and_what_was_loaded(embedded, folders):
    facts = embedded.provenance()
    assert (facts["model"], facts["licence"], facts["prediction"]) == ("embedded", "Apache-2.0", "sample")
    card = (embedded.folder / "README.md").read_text()
    assert len(facts["files"]) == 2
    assert all(name in card and digest in card for name, digest in facts["files"].items())
    other = _load(folders["epsilon"]).provenance()
    assert (other["model"], other["licence"]) == ("epsilon", "unknown: see the model's card")


def _mushrooms(clay=False):
    """[4, 64, 64, 3]: four of the world's red mushrooms with white stems, from the front."""
    draw = Draw(torch.Generator().manual_seed(0))
    return strip([build(Scene(Thing("mushroom", "red", "white")), draw) for _ in range(4)], 1, clay)


def _error_under(embedded, prompt, image, shading):
    """Squared error of the clean images guessed from much noise, where the words decide."""
    score = embedded.for_prompt(prompt)
    latents = score.encode(image)
    front = plain_views(orbit(*(torch.full((4,), value) for value in (0.0, 0.2, 2.6, 0.7)), 64, 64), shading, (1, 1, 1), 0.35, 0.7)
    total = 0.0
    for t in (800, 900):
        a, s = score.alpha_bar[t].sqrt(), (1 - score.alpha_bar[t]).sqrt()
        noisy = a * latents + s * _normal(*latents.shape, seed=t)
        guess = (noisy - s * score.score(noisy, torch.full((4,), t), front)) / a
        total += float((guess - latents).square().mean())
    return total


WORDS = "a red mushroom with white parts"


@pytest.mark.parametrize("wrong", ["a blue mushroom with white parts", "a red chair", "a green car with yellow parts"])
def test_the_right_words_guess_a_noisy_picture_better_than_wrong_ones(embedded, wrong):
    pictures = _mushrooms()
    right = _error_under(embedded, WORDS, pictures, Shading.LAMBERTIAN)
    assert right < 0.75 * _error_under(embedded, wrong, pictures, Shading.LAMBERTIAN)


def test_the_clay_words_guess_a_clay_picture_better_than_the_coloured_ones(embedded):
    pictures = _mushrooms(clay=True)
    clay, coloured = (_error_under(embedded, WORDS, pictures, shading) for shading in (Shading.TEXTURELESS, Shading.LAMBERTIAN))
    assert clay < 0.75 * coloured
