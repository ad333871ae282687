"""The prior keeps pixels, weighs its loss as it says, and writes a folder that guidance loads."""

import pytest
import torch

from dreamfusion_mesh.config import GuidanceSettings, ViewSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.guidance.models.multiview import predict_views
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from dreamfusion_mesh.render.views import random_views
from tools.prior import tokens
from tools.prior.data import read_shard
from tools.prior.model import RECIPES, TIMES, Prior, alpha_bar, export, loss_of, number_weights, read_weights, times_of, weight_of
from tools.prior.train import start_run

TINY = RECIPES["tiny"]
CPU = torch.device("cpu")


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


def test_guidance_loads_and_scores_what_was_written(tmp_path, shards):
    run = start_run(tmp_path / "run", TINY, CPU)
    export(run.averaged(), tmp_path / "model")
    settings = GuidanceSettings(model=str(tmp_path / "model"))
    guidance = load_guidance(settings, "cpu")
    assert (guidance.latents.patch, guidance.size, guidance.prediction, guidance.text.limit) == (8, 64, "sample", tokens.LENGTH)
    assert torch.allclose(guidance.schedule.signal.square().float(), alpha_bar(), atol=1e-6)
    prompted = guidance.for_prompt("a red mug with a white handle", settings)
    assert prompted.warnings == []
    views = random_views(4, ViewSettings(), 64, 64, torch.Generator().manual_seed(0), "cpu")
    images = read_shard(next(iter(sorted(shards.iterdir())))).images[:4].float() / 255
    noisy, t = guidance.encode(images), torch.tensor([50, 300, 600, 900])
    answers = prompted.answer(noisy, t, views)
    for predicted in (answers.text, answers.uncond):
        assert predicted.shape == noisy.shape == (4, 192, 8, 8)
        assert torch.isfinite(predicted).all()
    with pytest.raises(BadInput, match="knows none of: xylophone"):
        guidance.for_prompt("a xylophone", settings)

    # The folder's U-Net and words are those that were trained, but for half precision.
    ids = tokens.encode([f"a red mug with a white handle{suffix}" for suffix in VIEW_SUFFIXES])
    with torch.no_grad():
        trained = run.averaged()(noisy, t, ids)
        served = guidance.predict(guidance.question(noisy, t, prompted.text[:4]))
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
        text = torch.zeros(1, tokens.LENGTH, 192)
        predict_views(prior.unet, torch.zeros(1, 12, 32, 32), torch.zeros(1).long(), text, torch.zeros(1, 5), 1)
    assert 3.5e9 < counter.get_total_flops() < 4.5e9
