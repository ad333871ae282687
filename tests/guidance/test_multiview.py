"""Views seen together: what they share, what tells them apart, and that groups do not mix."""

import math
from functools import partial

import pytest
import torch
from guided import PROMPT, asked, bind, load, normal, score, views_around
from loss_steps import step_of

from dreamfusion_mesh.config import GuidanceSettings, model_names, model_settings, read_model
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.answers import guide
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.guidance.models.load import check_served
from dreamfusion_mesh.guidance.models.multiview import camera_numbers
from dreamfusion_mesh.guidance.prompts import view_words
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.views import plain_views


def test_perp_neg_keeps_views_seen_together_away_from_one_another(folders):
    """Away from what the model predicts where the same noise stands at another view of the group: its text, its camera."""
    noisy, t, views = normal(8, 3, 8, 8), torch.tensor([300] * 4 + [401] * 4), views_around(8)
    views.shading[5] = Shading.TEXTURELESS
    plain, away = (bind(folders["multiview"], perp_neg=share, multiview=True, scale=4.0) for share in (0.0, 0.5))
    order = [1, 2, 3, 0, 7, 4, 5, 6]
    rows = view_words(views.cameras.azimuth, views.cameras.elevation, 45.0, 50.0)
    clay = torch.tensor([0, 0, 0, 0, 0, 4, 0, 0])
    cameras = camera_numbers(views.cameras.azimuth, views.cameras.elevation)
    uncond = asked(plain, noisy, t, plain.negative.states.expand(8, -1, -1), cameras, 4)
    text = asked(plain, noisy, t, plain.text.states[rows + clay], cameras, 4)
    other = asked(plain, noisy, t, plain.text.states[rows[order] + clay], cameras[order], 4)
    torch.testing.assert_close(score(away, noisy, t, views), guide(uncond, text, 4.0, [other], 0.5), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(score(plain, noisy, t, views), guide(uncond, text, 4.0), rtol=1e-4, atol=1e-5)


def test_a_view_affects_the_others_of_its_group_and_no_others(folders):
    noisy, t, views = normal(8, 3, 8, 8), torch.full((8,), 500), views_around(8)
    other = noisy.clone()
    other[1] += 1
    moved = {}
    for multiview in (False, True):
        model = bind(folders["multiview"], multiview=multiview)
        change = (score(model, other, t, views) - score(model, noisy, t, views)).flatten(1).abs().amax(1)
        moved[multiview] = (change > 1e-6).tolist()
    assert moved[False] == [False, True, *[False] * 6]
    assert moved[True] == [True] * 4 + [False] * 4


def test_four_equal_views_are_seen_together_as_each_is_alone(folders):
    """Attention over four copies of a sequence weighs each position by a quarter four times."""
    model = bind(folders["multiview"])
    predict, text = partial(asked, model), model.text.states[:1].expand(4, -1, -1)
    noisy, t = normal(1, 3, 8, 8).expand(4, -1, -1, -1), torch.full((4,), 300)
    cameras = camera_numbers(torch.tensor([0.7]), torch.tensor([0.2])).expand(4, -1)
    alone, together = (predict(noisy, t, text, cameras, views) for views in (1, 4))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    without_cameras = predict(noisy, t, text)
    torch.testing.assert_close(without_cameras, predict(noisy, t, text, torch.zeros(4, 5)))
    assert (without_cameras - alone).abs().max() > 1e-3


def test_the_order_of_views_seen_together_does_not_matter(folders):
    model = bind(folders["multiview"], multiview=True)
    order = torch.tensor([2, 0, 3, 1])
    azimuth, elevation, far, wide = torch.tensor([0.1, 1.7, 3.2, 4.8]), torch.tensor([0.1, 0.3, 1.2, -0.1]), *torch.full((2, 4), 2.6)
    first, second = (
        plain_views(orbit(azimuth[rows], elevation[rows], far, wide / 4, 8, 8), Shading.ALBEDO, (1, 1, 1), 0.35, 0.7)
        for rows in (torch.arange(4), order)
    )
    noisy, t = normal(4, 3, 8, 8), torch.full((4,), 500)
    torch.testing.assert_close(score(model, noisy, t, first)[order], score(model, noisy[order], t, second), rtol=1e-4, atol=1e-5)


def test_camera_conditions_differ_up_to_the_poles_and_not_by_whole_turns():
    azimuth = torch.tensor([0.0, 1.0, 1.0 + 2 * math.pi, 0.0, 1.0])
    elevation = torch.tensor([0.3, 0.3, 0.3, math.pi / 2, math.pi / 2])
    cameras = camera_numbers(azimuth, elevation)
    assert cameras.shape == (5, 5)
    assert torch.allclose(cameras[1], cameras[2], atol=1e-6)
    apart = torch.cdist(cameras, cameras)[[0, 1, 3, 4]][:, [0, 1, 3, 4]]
    assert (apart + torch.eye(4) > 0.5).all()
    positions = orbit(azimuth, elevation, torch.ones(5), torch.ones(5), 8, 8).to_world[:, :3, 3]
    assert torch.allclose(cameras[:, :3], positions, atol=1e-6)


def test_views_seen_together_share_their_times_and_come_in_fours(folders):
    model, settings = bind(folders["multiview"], multiview=True), GuidanceSettings()
    draws = torch.Generator().manual_seed(5)

    def distilled(count):
        images = torch.full((count, 16, 16, 3), 0.5)
        return distill(model, step_of(images, views_around(count), (0.02, 0.02), (0.98, 0.98), 0.5, draws), settings)

    step = distilled(8)
    assert step.t.reshape(2, 4).unique(dim=1).shape == (2, 1)
    assert step.t[0] != step.t[4]
    with pytest.raises(ValueError, match="multiple of the 4"):
        distilled(2)


def test_views_are_drawn_away_from_the_negative_prompt_whatever_the_loss(folders):
    noisy, t, views = normal(4, 3, 8, 8), torch.full((4,), 500), views_around(4)
    drawn = [bind(folders["multiview"], loss=loss, negative_prompt="a blue table", perp_neg=1.0) for loss in ("sds", "csd")]
    first, second = (model.seeing_together().answer(noisy, t, views) for model in drawn)
    assert second.negative is None
    assert first.others == second.others == ()
    assert torch.equal(first.uncond, second.uncond)


@pytest.mark.parametrize("name", [name for name in model_names() if not read_model(name).multiview])
def test_a_published_model_that_sees_each_view_alone_is_refused_before_it_is_fetched(name):
    settings = GuidanceSettings(model=name)
    with pytest.raises(BadInput, match=rf"^guidance '{name}': is not a multi-view model; set coarse.start=sphere, or name one that is$"):
        check_served(settings, "views")
    with pytest.raises(BadInput, match=r"is not a multi-view model; set guidance.multiview=false, or"):
        check_served(settings.model_copy(update={"multiview": True}), "sphere")


def test_published_models_are_said_to_be_multi_view_as_their_settings_and_weights_are():
    assert [name for name in model_names() if read_model(name).multiview] == ["embedded", "mvdream"]
    check_served(GuidanceSettings(), "views")
    assert model_settings("mvdream")["guidance"]["multiview"]


def test_multiview_is_refused_for_a_model_that_is_not_made_for_it(folders):
    model = load(folders["epsilon"])
    with pytest.raises(BadInput, match=r"is not a multi-view model; set guidance.multiview=false"):
        model.for_prompt(PROMPT, GuidanceSettings(model=model.model, multiview=True))
