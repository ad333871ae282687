"""Samples end on what the model knows, guided as score distillation is."""

import dataclasses
import math

import pytest
import torch

from dreamfusion_mesh.guidance.models.multiview import camera_numbers
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.views import plain_views
from tools.prior import tokens
from tools.prior.captions import Scene, Thing
from tools.prior.data import Pictures
from tools.prior.model import RECIPES, Prior
from tools.prior.parts import Draw
from tools.prior.renders import render, words_of
from tools.prior.sampling import sample
from tools.prior.train import start_run
from tools.prior.world import build

TINY = RECIPES["tiny"]
CPU = torch.device("cpu")


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
    pace = dataclasses.replace(TINY.pace, steps=320, batch=16, warm=20, keep=0.97)
    run = start_run(tmp_path, dataclasses.replace(TINY, pace=pace), CPU)
    ids = tokens.encode(pictures.captions)
    for _ in range(320):
        run.advance(pictures, ids)
    for angles in (None, pictures.angles.repeat(2, 1)):
        made = sample(run.averaged(), pictures.captions * 2, seed=0, steps=12, scale=1.0, angles=angles)
        far = torch.cdist(made.flatten(1), images.flatten(1)) / (64 * 64 * 3) ** 0.5
        assert far.argmin(1).tolist() == [0, 1, 2, 3] * 2
        assert far.min(1).values.max() < 0.2
