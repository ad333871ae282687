"""The judge's losses and folder; what it is measured by counts what it says it counts."""

import json
import math

import pytest
import torch

from dreamfusion_mesh.evaluate.judges import load_judge
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from tools.prior import evaluate, held_out, judge, model, tokens
from tools.prior.captions import caption_of, parse
from tools.prior.data import read_shard
from tools.prior.degrade import _compress, degrade
from tools.prior.judge import JUDGES, contrastive, cut_views
from tools.prior.kinds import KINDS

TINY = JUDGES["tiny"]


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def test_degradation_depends_on_its_seed_alone_and_keeps_the_picture(shards):
    images = read_shard(shards / "shard-00000.safetensors").images.float() / 255
    spoilt = degrade(images, draws(3))
    assert torch.equal(spoilt, degrade(images, draws(3)))
    assert not torch.equal(spoilt, degrade(images, draws(4)))
    assert spoilt.shape == images.shape
    assert spoilt.min() >= 0
    assert spoilt.max() <= 1
    assert torch.equal(degrade(images, draws(3), strength=0), images)
    change = [float((degrade(images, draws(3), strength) - images).square().mean().sqrt()) for strength in (0.1, 0.5, 1.0)]
    assert 0.005 < change[0] < change[1] < change[2] < 0.25


def test_compression_without_loss_is_none():
    """The cosine transform is its own inverse transposed: with steps that vanish the blocks come back."""
    images = torch.rand(3, 3, 64, 64, generator=draws())
    assert _compress(images, draws(), strength=0.0) == pytest.approx(images, abs=2e-3)
    flat = torch.full((1, 3, 8, 8), 0.25)
    assert _compress(flat, draws(), strength=0.0) == pytest.approx(flat, abs=1e-3)


def test_the_contrastive_loss_in_closed_form():
    unit, ids = torch.eye(4), torch.arange(4)[:, None]
    scale = torch.tensor(2.0)
    expected = -math.log(math.exp(2) / (math.exp(2) + 3))
    assert float(contrastive(unit, unit, ids, scale)) == pytest.approx(expected, rel=1e-6)
    same = torch.tensor([[0], [0], [1], [2]])  # the first two are captioned alike, so neither is the other's wrong answer
    two, three = (-math.log(math.exp(2) / (math.exp(2) + others)) for others in (2, 3))
    assert float(contrastive(unit, unit, same, scale)) == pytest.approx((two + three) / 2, rel=1e-6)


def test_views_are_cut_at_the_comma():
    texts = ["a red mug, front view", "a red mug", "a grey clay cake, overhead view"]
    ids = tokens.encode(texts)
    assert torch.equal(cut_views(ids, torch.ones(3, dtype=torch.bool)), tokens.encode(["a red mug", "a red mug", "a grey clay cake"]))
    assert torch.equal(cut_views(ids, torch.zeros(3, dtype=torch.bool)), ids)


def test_captions_are_reworded_for_every_view_and_their_kinds_found():
    texts = ["a red mug, side view", "the big car with red parts on a blue box, overhead view"]
    turned, own = tokens.turn_views(tokens.encode(texts))
    assert own.tolist() == [1, 3]
    for row, text in enumerate(texts):
        bare = text.rsplit(",", 1)[0]
        assert torch.equal(turned[row], tokens.encode([bare + suffix for suffix in VIEW_SUFFIXES]))
    kinds = list(KINDS)
    words = [word for kind in kinds for word in KINDS[kind].words]
    rows = judge.kind_rows(tokens.encode([f"a red {word} on a blue table" for word in words]))
    assert [kinds[row] for row in rows.tolist()] == [kind for kind in kinds for _ in KINDS[kind].words]


def test_the_folder_holds_two_towers_as_transformers_reads_them(tmp_path):
    from transformers import CLIPTextModelWithProjection, ResNetForImageClassification

    torch.manual_seed(0)
    made = judge.Judge(TINY.channels, TINY.width, TINY.layers)
    made.pictures(torch.rand(8, 64, 64, 3, generator=draws(1)))  # moves the normalisations' means
    judge.export(made, tmp_path)
    image = ResNetForImageClassification.from_pretrained(str(tmp_path / "image"), use_safetensors=True)
    text = CLIPTextModelWithProjection.from_pretrained(str(tmp_path / "text"), use_safetensors=True)
    assert {value.dtype for tower in (image, text) for value in tower.parameters()} == {torch.float16}
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {".json", ".safetensors"}
    again, images = load_judge(str(tmp_path), "cpu"), torch.rand(2, 64, 64, 3, generator=draws())
    half = made.half().float().eval()
    texts = ["a red mug", "a cake, front view"]
    ids = tokens.encode(texts)
    with torch.no_grad():
        pixels = 2 * images.permute(0, 3, 1, 2) - 1
        seen = torch.nn.functional.normalize(image.float().eval()(pixel_values=pixels).logits, dim=1)
        assert torch.allclose(again.images(images), seen, atol=1e-5)
        read = torch.nn.functional.normalize(text.float().eval()(input_ids=ids).text_embeds, dim=1)
        assert torch.allclose(again.texts(texts), read, atol=1e-5)
        assert torch.allclose(again.images(images), half.pictures(images), atol=1e-6)
        assert torch.allclose(again.texts(texts), half.texts(ids), atol=1e-6)
    shape = json.loads((tmp_path / "image" / "preprocessor_config.json").read_text())
    assert (shape["size"], shape["image_mean"], shape["image_std"]) == ({"height": 64, "width": 64}, [0.5] * 3, [0.5] * 3)


def test_the_full_judge_is_under_ten_megabytes(tmp_path):
    recipe = JUDGES["full"]
    judge.export(judge.Judge(recipe.channels, recipe.width, recipe.layers), tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) < 10e6


class Oracle:
    """A judge that reads the answer from the first pixel: it knows the row of the caption that was drawn."""

    def __init__(self, texts, spoil=None):
        self.rows = {text: i for i, text in enumerate(texts)}
        self.spoil = spoil or (lambda rows: rows)

    def images(self, images):
        return torch.nn.functional.one_hot(self.spoil((images[:, 0, 0, 0] * 4096).round().long()), 4096).float()

    def texts(self, texts):
        return torch.nn.functional.one_hot(torch.tensor([self.rows[text] for text in texts]), 4096).float()


def test_shares_count_what_they_say():
    prompts = held_out.prompts()[:6]  # two kinds, three prompts each
    every = [*prompts, *(caption_of(p, 0, True).removesuffix(", front view") for p in prompts)]
    every += [caption_of(p, view, clay) for p in prompts for clay in (False, True) for view in range(4)]
    unique = list(dict.fromkeys(every))

    def draw(asked, clay):
        captions = [caption_of(prompt, i, clay) for prompt in asked for i in range(2)]
        images = torch.zeros(len(captions), 64, 64, 3)
        for i, caption in enumerate(captions):
            images[i] = unique.index(caption) / 4096
        return images, captions

    class Reader(Oracle):
        """Likes the captions that begin as the drawn one does, its view most."""

        def texts(self, texts):
            own = super().texts(texts)
            for row, text in enumerate(texts):
                for full, caption in enumerate(unique):
                    if caption.startswith(text):
                        own[row, full] += 0.5 * len(text)
            return own

    perfect, images = evaluate.measure(Reader(unique), draw, prompts)
    assert perfect == {"prompt": 1.0, "kind": 1.0, "colour": 1.0, "part": 1.0, "clay": 1.0, "view": 1.0}
    assert images.shape[0] == 12

    first = torch.tensor([unique.index(caption_of(prompts[0], 0, False))])
    blind, _ = evaluate.measure(Reader(unique, lambda rows: first.expand_as(rows)), draw, prompts)
    things = [parse(prompt).scene.thing for prompt in prompts]
    assert blind["prompt"] == pytest.approx(1 / 6)
    assert blind["kind"] == pytest.approx(0.5)
    assert blind["colour"] == pytest.approx(sum(thing.colour == things[0].colour for thing in things) / 6)


def test_the_nearest_render_is_found(pictures):
    rows = torch.tensor([3, 40, 17])
    samples = (pictures.images[rows].float() / 255 + 0.01).clamp(0, 1)
    far, found = evaluate.nearest(samples, pictures, batch=10)
    flat, every = samples.flatten(1), pictures.images.flatten(1).float() / 255
    for i in range(3):
        error = (every - flat[i]).square().mean(1).sqrt()
        assert float(far[i]) == pytest.approx(float(error.min()), rel=1e-3)
        assert float(error[found[i]]) == pytest.approx(float(error.min()), rel=1e-3)


def test_real_renders_of_prompts_are_captioned_by_them():
    draw = evaluate.world_draws(each=2, seed=5)
    prompts = list(held_out.prompts()[:3])
    images, captions = draw(prompts, True)
    assert images.shape == (6, 64, 64, 3)
    assert all(parse(caption).clay for caption in captions)
    assert [parse(caption).scene for caption in captions] == [parse(prompt).scene.bare() for prompt in prompts for _ in range(2)]
    _, captions = draw(prompts, False)
    assert [parse(caption).scene for caption in captions] == [parse(prompt).scene for prompt in prompts for _ in range(2)]


def test_turned_renders_show_the_views_that_samples_are_asked_for():
    """A mug's blue handle is right of it from the front, left of it from the back."""
    prompts = ["a red mug with a blue handle", "a white ghost"]
    images, captions = evaluate.world_draws(each=4, seed=5, turned=True)(prompts, False)
    assert [parse(caption).view for caption in captions] == [0, 1, 2, 3, 1, 2, 3, 0]
    blue = images[..., 2] - images[..., 0]
    aside = blue[:4, :, 32:].mean((1, 2)) - blue[:4, :, :32].mean((1, 2))
    assert aside[0] > 0.01
    assert aside[2] < -0.01


def test_a_written_prior_is_loaded_to_be_evaluated(tmp_path):
    prior = model.Prior(model.RECIPES["tiny"].size)
    model.export(prior, tmp_path)
    again = model.load(tmp_path)
    assert again.size == prior.size
    draw = evaluate.prior_draws(again, each=2, seed=1, scale=2.0, steps=4)
    images, captions = draw(["a red mug"], True)
    assert images.shape == (2, 64, 64, 3)
    assert captions == ["a grey clay mug, front view", "a grey clay mug, side view"]
    _, captions = evaluate.prior_draws(again, each=1, seed=1, scale=2.0, steps=4)(["a red mug", "a cake"], False)
    assert captions == ["a red mug, front view", "a cake, side view"]
    alone, together = (evaluate.prior_draws(again, 4, 1, 2.0, joint, steps=4)(["a red mug"], False) for joint in (False, True))
    assert alone[1] == together[1]
    assert not torch.equal(alone[0], together[0])
    with pytest.raises(ValueError, match="multiple of the 4"):
        evaluate.prior_draws(again, 2, 1, 2.0, together=True)
