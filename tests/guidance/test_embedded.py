"""The embedded model means its words: the right ones guess a noisy picture better than wrong ones."""

import pytest
import torch
from guided import normal, score

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.views import plain_views
from tools.prior.captions import Scene, Thing
from tools.prior.parts import Draw
from tools.prior.sheet import strip
from tools.prior.world import build

WORDS = "a red mushroom with white parts"


def _mushrooms(clay=False):
    """[4, 64, 64, 3]: four of the world's red mushrooms with white stems, from the front."""
    draw = Draw(torch.Generator().manual_seed(0))
    return strip([build(Scene(Thing("mushroom", "red", "white")), draw) for _ in range(4)], 1, clay)


def _error_under(embedded, prompt, image, shading):
    """Squared error of the clean images guessed from much noise, where the words decide."""
    model = embedded.for_prompt(prompt, GuidanceSettings())
    latents = model.encode(image)
    front = plain_views(orbit(*(torch.full((4,), value) for value in (0.0, 0.2, 2.6, 0.7)), 64, 64), shading, (1, 1, 1), 0.35, 0.7)
    total = 0.0
    for time in (800, 900):
        t = torch.full((4,), time)
        signal, sigma = model.schedule.at(t, latents)
        noisy = signal * latents + sigma * normal(*latents.shape, seed=time)
        guess = (noisy - sigma * score(model, noisy, t, front)) / signal
        total += float((guess - latents).square().mean())
    return total


@pytest.mark.parametrize("wrong", ["a blue mushroom with white parts", "a red chair", "a green car with yellow parts"])
def test_the_right_words_guess_a_noisy_picture_better_than_wrong_ones(embedded, wrong):
    pictures = _mushrooms()
    right = _error_under(embedded, WORDS, pictures, Shading.LAMBERTIAN)
    assert right < 0.75 * _error_under(embedded, wrong, pictures, Shading.LAMBERTIAN)


def test_the_clay_words_guess_a_clay_picture_better_than_the_coloured_ones(embedded):
    pictures = _mushrooms(clay=True)
    clay, coloured = (_error_under(embedded, WORDS, pictures, shading) for shading in (Shading.TEXTURELESS, Shading.LAMBERTIAN))
    assert clay < 0.75 * coloured
