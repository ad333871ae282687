"""Samples end on what the model knows, guided as score distillation is."""

import math

import pytest
import torch

from dreamfusion_mesh.guidance.models.multiview import camera_numbers
from tools.prior import tokens
from tools.prior.model import RECIPES, Prior
from tools.prior.sampling import sample

TINY = RECIPES["tiny"]


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

    def recording(self, noisy, t, ids, *more):
        asked.append((int(t[0]), ids, more))
        return forward(self, noisy, t, ids, *more)

    monkeypatch.setattr(Prior, "forward", recording)
    angles = torch.tensor([[turn * math.pi / 2, 0.2] for turn in range(4)])
    for angles_given in (None, angles):
        plain, away = (sample(prior, texts, seed=3, steps=3, angles=angles_given, perp_neg=share) for share in (0.0, 1.0))
        assert ((plain - away).abs().amax((1, 2, 3)) > 1e-3).all()
        without, with_others = asked[-6:-3], asked[-3:]
        assert all(torch.equal(ids[4:], words) and len(ids) == 8 for _, ids, _ in without)
        for time, ids, more in with_others:
            order = [(row + 1 + time % 3) % 4 for row in range(4)]
            assert torch.equal(ids, torch.cat((tokens.encode([""] * 4), words, words[order])))
            if angles_given is not None:
                numbers = camera_numbers(*angles.unbind(1))
                assert torch.equal(more[0], torch.cat((numbers, numbers, numbers[order])))
