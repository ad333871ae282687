"""The training tool lowers its loss, goes on exactly where it stopped, and writes a folder that guidance loads."""

import dataclasses
import json
import math

import pytest
import torch

from dreamfusion_mesh.config import GuidanceSettings, ViewSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.diffusion import load_guidance
from dreamfusion_mesh.guidance.folder import fingerprint
from dreamfusion_mesh.guidance.multiview import ask, camera_numbers
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, view_words
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit, plain_views, random_views
from dreamfusion_mesh.render.raster import resolve_rasterizer
from tools.prior import held_out, tokens
from tools.prior.captions import Scene, Thing, caption_of, parse, vocabulary
from tools.prior.checkpoint import Average
from tools.prior.data import Pictures, make_shard, read_shard, shard_file, write_shard
from tools.prior.files import draw_curve, read_rows
from tools.prior.model import RECIPES, TIMES, Prior, alpha_bar, export, loss_of, number_weights, read_weights, times_of, weight_of
from tools.prior.parts import Draw
from tools.prior.renders import render, words_of
from tools.prior.runs import train
from tools.prior.sampling import sample
from tools.prior.train import main, start_run
from tools.prior.world import build

TINY = RECIPES["tiny"]
CPU = torch.device("cpu")


def paced(**changes):
    return dataclasses.replace(TINY, pace=dataclasses.replace(TINY.pace, **changes))


def weights(run):
    return {name: value.detach().clone() for name, value in run.network.named_parameters()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_shards_are_their_numbers_alone_and_read_back(tmp_path):
    shard, again, other = (make_shard(number, "cpu", scenes=2, supersample=1) for number in (5, 5, 6))
    assert torch.equal(shard.images, again.images)
    assert not torch.equal(shard.images, other.images)
    assert shard.images.shape == (16, 64, 64, 3)
    write_shard(shard, tmp_path / "shard-00005.safetensors")
    read = read_shard(tmp_path / "shard-00005.safetensors")
    assert torch.equal(read.images, shard.images)
    assert torch.equal(read.angles, shard.angles)
    assert read.captions == shard.captions
    assert len({parse(caption).scene.thing.kind for caption in shard.captions}) <= 2
    assert [file.name for file in tmp_path.iterdir()] == ["shard-00005.safetensors"]


def test_four_in_a_row_stand_evenly_around_one_scene_and_are_captioned_by_their_angles():
    shard = make_shard(7, "cpu", scenes=6, supersample=1)
    azimuth, elevation = shard.angles.unbind(1)
    turns = torch.remainder(azimuth.reshape(-1, 4).diff(dim=1), 2 * torch.pi)
    assert torch.allclose(turns, torch.full_like(turns, torch.pi / 2), atol=1e-5)
    settings = GuidanceSettings()
    words = view_words(azimuth, elevation, settings.front_degrees, settings.overhead_degrees)
    assert words.tolist() == [parse(caption).view for caption in shard.captions]
    scenes = [parse(caption).scene.bare() for caption in shard.captions]
    assert all(len(set(scenes[first : first + 8])) == 1 for first in range(0, len(scenes), 8))


def test_pictures_take_up_shards_as_they_come(tmp_path):
    pictures = Pictures(tmp_path, "cpu")
    assert not pictures.refresh()
    for number in (0, 1):
        write_shard(make_shard(number, "cpu", scenes=1, supersample=1), shard_file(tmp_path, number))
        assert pictures.refresh()
        assert len(pictures) == len(pictures.images) == len(pictures.angles) == 8 * (number + 1)
    assert not pictures.refresh()


def test_tokens_are_those_of_the_written_tokenizer(tmp_path):
    from transformers import PreTrainedTokenizerFast

    tokens.write(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del config["tokenizer_class"]
    written = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **config)
    texts = ["", "a red mug, front view", "A Grey clay xylophone!, back view", *(caption_of(p, 3, True) for p in held_out.prompts())]
    for text in texts:
        assert written(text, padding="max_length").input_ids == tokens.encode([text])[0].tolist()
    assert tokens.UNKNOWN not in tokens.encode(list(held_out.prompts()))
    assert tokens.UNKNOWN in tokens.encode(["xylophone"])
    assert len(tokens.word_ids()) == len(vocabulary()) + 4


def test_one_word_is_blanked_where_chosen():
    ids = tokens.encode(["a red mug, front view", "a red mug, front view", ""]).repeat(200, 1)
    chosen = torch.tensor([True, False, True]).repeat(200)
    made = tokens.blank_one(ids, chosen, torch.Generator().manual_seed(0))
    changed = made != ids
    assert (made[changed] == tokens.UNKNOWN).all()
    assert changed.sum(1).reshape(200, 3).tolist() == [[1, 0, 0]] * 200
    assert set(changed.nonzero()[:, 1].tolist()) == {1, 2, 3, 4, 5, 6}  # each of its words and the comma, never a mark


def test_the_longest_caption_fits():
    longest = "the small striped red mug with a white handle on a large wooden blue table with green legs, overhead view"
    assert parse(longest).view == 3
    row = tokens.encode([longest])[0]
    assert tokens.END in row
    with pytest.raises(ValueError, match="at most 22"):
        tokens.encode(["a " * 23])


def test_folding_keeps_pixels():
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    prior = Prior(TINY.size)
    folded = prior.fold(images)
    assert folded.shape == (2, 192, 8, 8)
    assert torch.equal((prior.unfold(folded) * 255).round().to(torch.uint8), images)
    assert torch.allclose(prior.fold(images.float() / 255), folded, atol=1e-6)


def test_the_loss_is_the_weighted_error_of_the_clean_image():
    shares = alpha_bar()
    assert (shares[1:] < shares[:-1]).all()
    draws = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, 8, 8, generator=draws)
    t = torch.tensor([10, 500, 990])
    seen = {}

    def off_by_a_half(noisy, times):
        seen["noisy"] = noisy
        return clean + 0.5

    weights = torch.rand(clean.shape, generator=draws)
    loss = loss_of(off_by_a_half, clean, weights, t, noise, shares)
    of_times = torch.stack([(shares[i] / (1 - shares[i])).pow(0.4).clamp(max=5.0) for i in t])
    expected = (of_times * 0.25 * weights.mean((1, 2, 3))).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert seen["noisy"][2] == pytest.approx(noise[2] * (1 - shares[990]).sqrt() + clean[2] * shares[990].sqrt(), abs=1e-6)
    assert float(weight_of(torch.tensor(0.5))) == 1.0
    assert float(weight_of(shares[0])) == 5.0
    assert (weight_of(shares).diff() <= 0).all()


def test_the_object_and_its_outline_count_more_than_the_background():
    images = torch.full((2, 64, 64, 3), 200, dtype=torch.uint8)
    images[0, 20:30, 40:50, 1] = 201
    folded = number_weights(images, 4)
    assert folded.shape == (2, 48, 16, 16)
    weights = torch.nn.functional.pixel_shuffle(folded, 4)
    assert torch.equal(weights[:, 0], weights[:, 1])
    assert torch.equal(weights[:, 0], weights[:, 2])
    assert weights.mean((1, 2, 3)) == pytest.approx([1.0, 1.0])
    assert weights[1] == pytest.approx(torch.ones(3, 64, 64)), "nothing is seen"
    heavy = torch.zeros(64, 64, dtype=torch.bool)
    heavy[18:32, 38:52] = True
    assert weights[0, 0][heavy].min() == weights[0, 0][heavy].max()
    assert weights[0, 0][~heavy] == pytest.approx(0.15 * float(weights[0, 0, 25, 45]))


def test_times_are_drawn_in_order_two_thirds_of_them_where_words_decide():
    times = times_of((torch.arange(10_000) + 0.5) / 10_000)
    assert (times.diff() >= 0).all()
    assert (times[0], times[-1]) == (0, TIMES - 1)
    assert len(times.unique()) == TIMES
    assert float((times < 700).float().mean()) == pytest.approx(0.3, abs=1e-3)
    assert float((times >= 980).float().mean()) == pytest.approx(0.05, abs=1e-3)
    middle = torch.bincount(times)[700:980]
    assert middle.max() - middle.min() <= 2, "evenly between"


def test_the_average_is_the_recurrence():
    layer = torch.nn.Linear(1, 1, bias=False)
    average, expected = Average(layer, 0.5), layer.weight.item()
    for step in range(1, 30):
        with torch.no_grad():
            layer.weight.fill_(step**0.5)
        average.update(layer, step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * step**0.5
    average.put_into(layer)
    assert layer.weight.item() == pytest.approx(expected, rel=1e-5)


def test_thirty_steps_lower_the_loss_of_a_fixed_batch(tmp_path, shards):
    run = start_run(tmp_path, TINY, CPU)
    pictures = Pictures(shards, "cpu")
    pictures.refresh()
    ids = tokens.encode(pictures.captions)
    draws = torch.Generator().manual_seed(1)
    clean = run.network.fold(pictures.images[:16])
    cameras = camera_numbers(*pictures.angles[:16].unbind(1))
    t = torch.randint(TIMES, (4,), generator=draws).repeat_interleave(4)
    fixed = (clean, torch.ones_like(clean), t, torch.randn(clean.shape, generator=draws), alpha_bar())

    def losses(network):
        with torch.no_grad():
            alone = loss_of(lambda noisy, at: network(noisy, at, ids[:16]), *fixed)
            together = loss_of(lambda noisy, at: network(noisy, at, ids[:16], cameras, 4), *fixed)
        return torch.stack((alone, together))

    before = losses(run.network)
    for _ in range(30):
        run.advance(pictures, ids)
    assert (losses(run.network) < 0.6 * before).all()
    assert (losses(run.averaged()) < 0.8 * before).all()


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, shards):
    whole = paced(steps=12)
    straight = start_run(tmp_path / "straight", whole, CPU)
    train(straight, Pictures(shards, "cpu"), minutes=5)
    first = start_run(tmp_path / "halved", whole, CPU)
    pictures = Pictures(shards, "cpu")
    pictures.refresh()
    for _ in range(7):
        first.advance(pictures, tokens.encode(pictures.captions))
    first.save()
    second = start_run(tmp_path / "halved", whole, CPU)
    assert second.step == 7
    assert same(weights(first), weights(second))
    train(second, Pictures(shards, "cpu"), minutes=5)
    assert second.step == straight.step == 12
    assert same(weights(straight), weights(second))
    assert same(straight.average.values, second.average.values)
    assert not same(weights(first), weights(second))
    written = [fingerprint(tmp_path / name / "checkpoint.safetensors") for name in ("straight", "halved")]
    assert written[0] == written[1]
    assert {file.suffix for file in (tmp_path / "halved").iterdir()} <= {".safetensors", ".csv", ".png"}


def test_the_rate_rises_holds_and_falls_to_nothing(tmp_path):
    run = start_run(tmp_path, paced(rate=1.0, warm=10, steps=100, cool=0.25), CPU)
    rates = []
    for run.step in range(100):
        rates.append(run.rate())
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:76] == pytest.approx([1.0] * 67)
    assert rates[75:] == pytest.approx([(100 - step) / 25 for step in range(75, 100)])


def test_a_cpu_is_not_compiled_for(tmp_path, shards, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["train", str(tmp_path / "run"), "--data", str(shards), "--compile", "--device", "cpu"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "--compile: on a CPU" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_batch_is_of_whole_groups():
    with pytest.raises(ValueError, match="batch 6: expected a multiple of the 4"):
        paced(batch=6)


def test_the_table_and_curve_are_written(tmp_path, shards):
    run = start_run(tmp_path, paced(batch=4, steps=45), CPU)
    pictures = Pictures(shards, "cpu")
    pictures.refresh()
    ids = tokens.encode(pictures.captions)
    for _ in range(45):
        run.advance(pictures, ids)
        run.log(1.0, len(pictures))
    run.save()
    rows = read_rows(tmp_path / "loss.csv")
    assert [row["step"] for row in rows] == [20, 40]
    assert all(row["loss"] > 0 and row["images"] == 64 for row in rows)
    from PIL import Image

    draw_curve(rows, "loss", tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (720, 360)
        assert (0, 0, 255) in {pixel for _, pixel in picture.getcolors(100_000)}


def test_a_resumed_table_means_the_steps_that_were_taken(tmp_path, shards):
    pictures = Pictures(shards, "cpu")
    pictures.refresh()
    ids = tokens.encode(pictures.captions)
    first = start_run(tmp_path, paced(batch=4, steps=45), CPU)
    for _ in range(18):
        first.advance(pictures, ids)
    first.save()
    second = start_run(tmp_path, paced(batch=4, steps=45), CPU)
    taken = []
    for _ in range(2):
        second.advance(pictures, ids)
        taken.append(float(second.losses[second.step - 1]))
        second.log(1.0, len(pictures))
    assert [row["step"] for row in second.rows] == [20]
    assert second.rows[0]["loss"] == pytest.approx(sum(taken) / 2)


def test_guidance_loads_and_scores_what_was_written(tmp_path, shards):
    run = start_run(tmp_path / "run", TINY, CPU)
    export(run.averaged(), tmp_path / "model")
    guidance = load_guidance(GuidanceSettings(model=str(tmp_path / "model")), "cpu")
    assert (guidance.patch, guidance.size, guidance.prediction, guidance.limit) == (8, 64, "sample", tokens.LENGTH)
    assert torch.allclose(guidance.alpha_bar, alpha_bar(), atol=1e-6)
    prompted = guidance.for_prompt("a red mug with a white handle")
    assert prompted.warnings == []
    views = random_views(4, ViewSettings(), 64, 64, torch.Generator().manual_seed(0), 0, "cpu")
    images = read_shard(next(iter(sorted(shards.iterdir())))).images[:4].float() / 255
    noisy, t = guidance.encode(images), torch.tensor([50, 300, 600, 900])
    score = prompted.score(noisy, t, views)
    assert score.shape == noisy.shape == (4, 192, 8, 8)
    assert torch.isfinite(score).all()
    with pytest.raises(BadInput, match="knows none of: xylophone"):
        guidance.for_prompt("a xylophone")

    # The folder's U-Net and words are those that were trained, but for half precision.
    ids = tokens.encode([f"a red mug with a white handle{suffix}" for suffix in VIEW_SUFFIXES])
    with torch.no_grad():
        trained = run.averaged()(noisy, t, ids)
        served = guidance.predict(noisy, t, prompted.words[:4])
    assert (trained - served).abs().max() < 0.01 * trained.abs().max()

    again = Prior(TINY.size)
    read_weights(again, tmp_path / "model")
    for name, value in run.averaged().half().named_parameters():
        assert torch.equal(dict(again.named_parameters())[name], value.float()), name


def test_the_full_recipe_keeps_its_budgets(tmp_path):
    prior = Prior(RECIPES["full"].size)
    export(prior, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 30e6
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        ask(prior.unet, torch.zeros(1, 12, 32, 32), torch.zeros(1).long(), torch.zeros(1, tokens.LENGTH, 192), torch.zeros(1, 5), 1)
    assert 3.5e9 < counter.get_total_flops() < 4.5e9


def test_sampling_denoises_to_what_a_perfect_model_knows():
    """With a model that always answers the same image, DDIM ends on it."""
    prior = Prior(TINY.size)
    image = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    known = prior.fold(image)

    class Certain(torch.nn.Module):
        size = TINY.size
        unfold = Prior.unfold

        def __init__(self):
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(1))

        def forward(self, noisy, t, ids):
            return known.expand_as(noisy)

    made = sample(Certain(), ["a red mug", "a cake"], seed=3, steps=10)
    assert made.shape == (2, 64, 64, 3)
    assert made == pytest.approx(image.expand(2, -1, -1, -1), abs=1e-5)
    assert torch.equal(sample(prior, ["a cake"], seed=3, steps=2), sample(prior, ["a cake"], seed=3, steps=2))
    assert not torch.equal(sample(prior, ["a cake"], seed=3, steps=2), sample(prior, ["a cake"], seed=4, steps=2))


def test_perp_neg_guides_samples_as_score_distillation_is_guided(monkeypatch):
    """What the network is asked: no words, the words, and those of each other view by turns; of cameras, those of the group's others."""
    prior, texts = Prior(TINY.size), [f"a red mug, {view} view" for view in ("front", "side", "back", "overhead")]
    asked, forward, words = [], Prior.forward, tokens.encode(texts)

    def heard(self, noisy, t, ids, *more):
        asked.append((int(t[0]), ids, more))
        return forward(self, noisy, t, ids, *more)

    monkeypatch.setattr(Prior, "forward", heard)
    angles = torch.tensor([[turn * math.pi / 2, 0.2] for turn in range(4)])
    for told in (None, angles):
        plain, away = (sample(prior, texts, seed=3, steps=3, angles=told, perp_neg=share) for share in (0.0, 1.0))
        assert ((plain - away).abs().amax((1, 2, 3)) > 1e-3).all()
        without, with_others = asked[-6:-3], asked[-3:]
        assert all(torch.equal(ids[4:], words) and len(ids) == 8 for _, ids, _ in without)
        for time, ids, more in with_others:
            order = [(row + 1 + time % 3) % 4 for row in range(4)]
            assert torch.equal(ids, torch.cat((tokens.encode([""] * 4), words, words[order])))
            if told is not None:
                numbers = camera_numbers(*angles.unbind(1))
                assert torch.equal(more[0], torch.cat((numbers, numbers, numbers[order])))


def test_samples_come_out_as_their_captions_say(tmp_path):
    """Words, noise, loss, average and sampler together: four pictures learnt by heart are drawn again under their own captions.

    Each alone, and the four together with their cameras told.
    """
    draw, pictures = Draw(torch.Generator().manual_seed(1)), Pictures(tmp_path, "cpu")
    scenes = [build(Scene(Thing(*look)), draw) for look in (("apple", "red"), ("box", "blue"), ("tree", "yellow"), ("car", "green"))]
    turn = torch.full((4,), 0.35)
    cameras = orbit(turn, turn, torch.full((4,), 2.6), torch.full((4,), 0.7), 64, 64)
    views = plain_views(cameras, Shading.LAMBERTIAN, (0.9, 0.9, 0.9), 0.35, 0.7)
    images, _ = render(scenes, torch.arange(4), views, resolve_rasterizer("auto", "cpu"), 1)
    pictures.images, pictures.captions = (images * 255).round().to(torch.uint8), words_of(scenes, torch.arange(4), views)
    pictures.angles = torch.stack((cameras.azimuth, cameras.elevation), 1)
    run = start_run(tmp_path, paced(steps=320, batch=16, warm=20, keep=0.97), CPU)
    ids = tokens.encode(pictures.captions)
    for _ in range(320):
        run.advance(pictures, ids)
    for angles in (None, pictures.angles.repeat(2, 1)):
        made = sample(run.averaged(), pictures.captions * 2, seed=0, steps=12, scale=1.0, angles=angles)
        far = torch.cdist(made.flatten(1), images.flatten(1)) / (64 * 64 * 3) ** 0.5
        assert far.argmin(1).tolist() == [0, 1, 2, 3] * 2
        assert far.min(1).values.max() < 0.2
