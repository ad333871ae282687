"""View words blended by azimuth: the shares are linear and exact in the middles, and the model gets the texts so mixed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from guided import asked, bind, normal, score, views_around

from dreamfusion_mesh.guidance.answers import guide
from dreamfusion_mesh.guidance.models.multiview import camera_numbers, contrast_view_of_blend
from dreamfusion_mesh.guidance.prompts import view_weights, view_words
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.views import plain_views


def at(*degrees: float, elevation: float = 0.0) -> torch.Tensor:
    azimuth = torch.deg2rad(torch.tensor(degrees))
    return view_weights(azimuth, torch.full_like(azimuth, math.radians(elevation)), 50.0)


def test_each_word_is_alone_in_its_middle_and_half_of_it_is_left_at_the_border() -> None:
    expected = [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 1, 0]]
    for sign, turns in ((1, 0), (-1, 0), (1, 720), (-1, -360)):
        found = at(*(sign * degrees + turns for degrees in (0.0, 45.0, 90.0, 135.0, 180.0)))
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-5)


def test_the_shares_are_continuous_and_add_up_to_one() -> None:
    found = at(*range(0, 361))
    torch.testing.assert_close(found.sum(1), torch.ones(361))
    assert found.min() >= 0
    assert (found[1:] - found[:-1]).abs().max() == pytest.approx(1 / 90, abs=1e-5)


def test_the_largest_share_is_the_word_that_is_given_without_blending() -> None:
    azimuth = torch.deg2rad(torch.arange(0.0, 360.0, 7.0))
    elevation = torch.where(torch.arange(len(azimuth)) % 3 == 0, 1.0, 0.1)
    assert torch.equal(view_weights(azimuth, elevation, 50.0).argmax(1), view_words(azimuth, elevation, 45.0, 50.0))


def test_overhead_is_not_blended() -> None:
    assert torch.equal(at(30.0, 200.0, elevation=60.0), torch.tensor([[0.0, 0, 0, 1]] * 2))


@pytest.mark.parametrize("shares", [[1, 0, 0, 0], [0.3, 0.7, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]])
def test_a_view_is_kept_away_from_as_often_as_the_blend_has_little_of_it(shares: list[float]) -> None:
    for times in (torch.arange(1000), torch.arange(300, 600)):  # also in a part of the times
        rows = contrast_view_of_blend(torch.tensor([shares]).expand(len(times), 4), times)
        found = torch.bincount(rows, minlength=4) / len(times)
        torch.testing.assert_close(found, (1 - torch.tensor(shares)) / 3, rtol=0, atol=0.01)


def test_the_model_gets_the_mixed_text_and_keeps_away_from_one_view(folders: dict[str, Path]) -> None:
    azimuth = torch.deg2rad(torch.tensor([0.0, 36.0, 171.0, 36.0]))
    cameras = orbit(azimuth, torch.zeros(4), torch.full((4,), 2.6), torch.full((4,), 0.7), 8, 8)
    views = plain_views(cameras, Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
    views.shading[3] = Shading.TEXTURELESS
    noisy, t = normal(4, 3, 8, 8), torch.full((4,), 500)
    model = bind(folders["epsilon"], scale=4.0, perp_neg=0.5, blend_view_words=True)
    words = ("front", "side", "back", "overhead")
    mug, clay = (model.model.text.encode([f"{what}, {word} view" for word in words]).states for what in ("a red mug", "a grey clay mug"))
    text = torch.stack([mug[0], 0.6 * mug[0] + 0.4 * mug[1], 0.1 * mug[1] + 0.9 * mug[2], 0.6 * clay[0] + 0.4 * clay[1]])
    shares = torch.tensor([[1.0, 0, 0, 0], [0.6, 0.4, 0, 0], [0, 0.1, 0.9, 0], [0.6, 0.4, 0, 0]])
    other = torch.stack([(clay if i == 3 else mug)[row] for i, row in enumerate(contrast_view_of_blend(shares, t).tolist())])
    uncond, given, away = (asked(model, noisy, t, each) for each in (model.negative.states.expand(4, -1, -1), text, other))
    torch.testing.assert_close(score(model, noisy, t, views), guide(uncond, given, 4.0, [away], 0.5), rtol=1e-3, atol=1e-4)


def test_views_seen_together_keep_away_from_one_another_with_their_mixed_texts(folders: dict[str, Path]) -> None:
    noisy, t, views = normal(4, 3, 8, 8), torch.full((4,), 300), views_around(4)
    model = bind(folders["multiview"], scale=4.0, perp_neg=0.5, blend_view_words=True, multiview=True)
    cameras = camera_numbers(views.cameras.azimuth, views.cameras.elevation)
    shares = view_weights(views.cameras.azimuth, views.cameras.elevation, 50.0)
    text, order = torch.einsum("bv,vld->bld", shares, model.text.states[:4]), [1, 2, 3, 0]
    uncond = asked(model, noisy, t, model.negative.states.expand(4, -1, -1), cameras, 4)
    given = asked(model, noisy, t, text, cameras, 4)
    away = asked(model, noisy, t, text[order], cameras[order], 4)
    torch.testing.assert_close(score(model, noisy, t, views), guide(uncond, given, 4.0, [away], 0.5), rtol=1e-3, atol=1e-4)
