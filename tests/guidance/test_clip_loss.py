"""The similarity of a CLIP as a loss: gradients by finite differences, the transmittance loss exactly, backgrounds where nothing is."""

import dataclasses
import math

import pytest
import torch
from guided import views_around
from tiny_clips import write_clip, write_towers

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.config.guidance import ClipLossSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.encodings import encoding_bytes, read_encoding
from dreamfusion_mesh.guidance.losses import backgrounds
from dreamfusion_mesh.guidance.losses.clip import augmented, random_cuts, similarity, target_transmittance, transmittance_loss
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.records import Render, Shading

PROMPT = "a red mug"
PLAIN = ClipLossSettings(random_backgrounds=0, crops=1, crop_size=1, transmittance=0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("clips")
    return {"whole": write_clip(parent / "whole"), "towers": write_towers(parent / "towers")}


@pytest.fixture(params=["whole", "towers"])
def folder(request, folders):
    return folders[request.param]


def _settings(folder, **changed):
    return GuidanceSettings(loss="clip", clip=str(folder), **changed)


def _bound(folder, **changed):
    settings = _settings(folder, **changed)
    return load_guidance(settings, "cpu").for_prompt(PROMPT, settings)


def _draws(seed=0):
    return torch.Generator().manual_seed(seed)


def _render(views, side=16, seed=5):
    """A render of noise whose left half is opaque and whose right half is empty."""
    count = len(views)
    rgb = torch.rand(count, side, side, 3, generator=_draws(seed))
    alpha = (torch.arange(side) < side // 2).float()[None, None, :, None].expand(count, side, side, 1)
    nothing = torch.zeros_like(rgb)
    behind = (1 - alpha) * views.background[:, None, None]
    return Render(alpha * rgb + behind, alpha, alpha * rgb, nothing, nothing[..., :1], nothing[..., :1])


def _step(render, views, progress=0.0, draws=None):
    return Step(render, views, progress, (0.1, 0.1), (0.9, 0.9), draws or _draws())


def test_the_gradient_in_the_render_is_that_of_finite_differences(folder):
    model, views = _bound(folder), views_around(3)
    settings = ClipLossSettings(crops=2, transmittance=0.5, target_transmittance=(0.9, 0.9))
    render = _render(views)
    given = torch.cat((render.rgb, 0.1 + 0.8 * render.alpha), dim=3).requires_grad_()

    def loss(values):
        seen = dataclasses.replace(render, rgb=values[..., :3], alpha=values[..., 3:])
        return similarity(model, _step(seen, views, 0.3), settings).loss

    (gradient,) = torch.autograd.grad(loss(given), given)
    assert (gradient[..., :3].abs().sum() > 0) & (gradient[..., 3:].abs().sum() > 0)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        slope = (loss(given + step) - loss(given - step)) / (2 * step.norm())
    torch.testing.assert_close(slope, gradient.norm(), rtol=2e-2, atol=0)


def test_the_loss_is_one_minus_the_cosine_of_each_views_own_words(folder):
    model, views = _bound(folder), views_around(4)
    views.shading[1] = Shading.TEXTURELESS
    render = _render(views)
    step = similarity(model, _step(render, views), PLAIN)
    words = [f"{PROMPT}, front view", "a grey clay mug, side view", f"{PROMPT}, back view", f"{PROMPT}, side view"]
    vectors = model.clip.texts(words)
    torch.testing.assert_close(model.texts(views), vectors, rtol=1e-5, atol=1e-6)
    cosines = (model.clip.images(render.rgb) * vectors).sum(dim=1)
    torch.testing.assert_close(step.loss, 1 - cosines.mean())
    assert step.residual == pytest.approx(float(1 - cosines.mean()))
    assert (step.finite, len(step.t)) == (True, 0)


def test_the_transmittance_loss_is_the_papers_and_stops_at_its_target():
    alpha = torch.zeros(2, 4, 4, 1)
    alpha[0, :2] = 1.0  # half of the first picture; nothing of the second
    alpha.requires_grad_()
    torch.testing.assert_close(transmittance_loss(alpha, 0.75), torch.tensor(-(0.5 + 0.75) / 2), rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(transmittance_loss(alpha, 0.75), alpha)
    assert torch.equal(gradient[0], torch.full((4, 4, 1), 1 / 32))
    assert torch.equal(gradient[1], torch.zeros(4, 4, 1)), "more than enough is transparent"


def test_what_is_opaque_falls_exponentially_to_its_target():
    found = [1 - target_transmittance(progress, (0.5, 0.9), 0.2) for progress in (0, 0.1, 0.2, 0.7, 1)]
    assert found == pytest.approx([0.5, math.sqrt(0.5 * 0.1), 0.1, 0.1, 0.1])
    assert target_transmittance(0.0, (0.5, 0.9), 0.0) == pytest.approx(0.9)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_backgrounds_touch_transparent_pixels_alone(share):
    views = views_around(4)
    render = _render(views)
    settings = ClipLossSettings(random_backgrounds=share, crops=3, crop_size=1)
    pictures = augmented(render, views, 16, settings, _draws())
    repeated = render.rgb.repeat(3, 1, 1, 1)
    assert torch.equal(pictures[:, :, :8], repeated[:, :, :8])
    changed = (pictures[:, :, 8:] != repeated[:, :, 8:]).flatten(1).any(1)
    assert 12 * share - 4 <= int(changed.sum()) <= 12 * share + 4
    assert ((pictures >= 0) & (pictures <= 1)).all()


def test_half_of_a_background_shows_through_what_is_half_transparent():
    views = views_around(1)
    render = _render(views)
    half = dataclasses.replace(render, alpha=torch.full_like(render.alpha, 0.5))
    settings = ClipLossSettings(crops=1, crop_size=1)
    one, other = (augmented(half, views, 16, settings, _draws(seed)) for seed in (1, 2))
    behind = 2 * (one - other).abs()
    assert 0.1 < float(behind.max()) <= 1


@pytest.mark.parametrize("make", [backgrounds.noise, backgrounds.checkerboard, backgrounds.fourier_texture])
def test_each_background_is_a_picture_drawn_from_its_seed(make):
    first, again, other = (make(6, 24, _draws(seed)) for seed in (3, 3, 4))
    assert first.shape == (6, 24, 24, 3)
    assert ((first >= 0) & (first <= 1)).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.std(dim=(1, 2)).mean()) > 0.02, "not plain"


def test_a_checkerboard_has_eight_squares_along_a_side_in_two_colours():
    board = backgrounds.checkerboard(1, 32, _draws())[0]
    assert len(board.flatten(0, 1).unique(dim=0)) == 2
    assert int((board[0, 1:] != board[0, :-1]).any(1).sum()) == 7
    assert torch.equal(board[:4, :4], board[:1, :1].expand(4, 4, 3))
    assert torch.equal(board[:4], board[8:12])


def test_a_fourier_texture_is_smoother_than_noise():
    texture, noise = (make(8, 32, _draws()) for make in (backgrounds.fourier_texture, backgrounds.noise))
    rough = [float((images[:, 1:] - images[:, :-1]).std() / images.std()) for images in (texture, noise)]
    assert rough[0] < 0.6 * rough[1]


def test_blur_has_the_deviation_that_is_asked_and_keeps_plain_pictures():
    point = torch.zeros(2, 33, 33, 3)
    point[:, 16, 16] = 1
    spread = backgrounds.gaussian_blur(point, torch.tensor([0.0, 2.0]))
    assert torch.equal(spread[0], point[0])
    place = torch.arange(33.0) - 16
    for axis in (0, 1):
        assert float((spread[1].sum(axis)[:, 0] * place.square()).sum()) == pytest.approx(4.0, rel=0.01)
    plain = torch.full((1, 9, 9, 3), 0.3)
    torch.testing.assert_close(backgrounds.gaussian_blur(plain, torch.tensor([3.0])), plain)


def test_cuts_are_parts_of_the_picture_and_lie_anywhere():
    grid = torch.arange(100.0).reshape(1, 10, 10, 1).expand(200, 10, 10, 1)
    cuts = random_cuts(grid, 0.8, _draws())
    assert cuts.shape == (200, 8, 8, 1)
    corners = cuts[:, 0, 0, 0]
    assert sorted({*corners.tolist()}) == [10 * y + x for y in range(3) for x in range(3)]
    assert torch.equal(cuts - corners[:, None, None, None], grid[:, :8, :8])
    assert torch.equal(random_cuts(grid, 1.0, _draws()), grid)
    with pytest.raises(ValueError, match="images: 10 x 8 pixels, expected a square"):
        random_cuts(grid[:, :, :8], 0.8, _draws())


def test_the_same_seed_gives_the_same_step_and_leaves_the_same_draws(folder):
    model, views = _bound(folder), views_around(2)
    render, steps = _render(views), []
    for seed in (3, 3, 4):
        draws = _draws(seed)
        settings = _settings(folder)
        step = make_loss(model, settings, 16, draws)(_step(render, views, 0.5, draws))
        steps.append((float(step.loss), draws.get_state()))
    assert steps[0][0] == steps[1][0] != steps[2][0]
    assert torch.equal(steps[0][1], steps[1][1])


def test_one_image_a_view():
    render = _render(views_around(3))
    with pytest.raises(ValueError, match="render: 3 images, expected one for each of 2 views"):
        _step(render, views_around(2))


def test_what_is_not_finite_has_no_gradient_and_is_told(folder):
    model, views = _bound(folder), views_around(2)
    render = _render(views)
    render.rgb[0, 0, 0] = torch.nan
    step = similarity(model, _step(render, views), PLAIN)
    assert not step.finite
    assert float(step.loss) == 0


def test_an_encoding_gives_the_same_model_and_one_of_another_is_refused(folder, folders):
    settings = _settings(folder)
    loaded = load_guidance(settings, "cpu")
    kept = read_encoding(encoding_bytes(loaded.encode_prompt(PROMPT, settings)))
    assert torch.equal(loaded.for_prompt(PROMPT, settings, kept).vectors, loaded.for_prompt(PROMPT, settings).vectors)
    with pytest.raises(ValueError, match=r"expected .* of this prompt"):
        loaded.for_prompt("a blue mug", settings, kept)
    with pytest.raises(BadInput, match=r"^guidance.clip 'embedded': the model that was loaded is '.*'; load the one that is named"):
        loaded.for_prompt(PROMPT, GuidanceSettings(loss="clip"))
    with pytest.raises(BadInput, match=r"^guidance.loss sds: the model that was loaded is a CLIP"):
        loaded.for_prompt(PROMPT, GuidanceSettings())
    assert loaded.text_fingerprint() == load_guidance(settings, "cpu").text_fingerprint()
    assert loaded.provenance()["loss"] == "clip"


def test_words_that_it_does_not_know_are_told_as_of_any_model(folder):
    settings = _settings(folder)
    loaded = load_guidance(settings, "cpu")
    (warning,) = loaded.for_prompt("a red zebrafish", settings).warnings
    assert warning == f"CLIP {str(folder)!r} does not know: zebrafish"
    with pytest.raises(BadInput, match="knows none of: zebrafish"):
        loaded.for_prompt("a zebrafish", settings)
    with pytest.raises(BadInput, match=r"^CLIP '.*': the text '.*' has \d+ tokens"):
        loaded.for_prompt(" ".join(["red mug"] * 12), settings)


def test_a_diffusion_model_is_not_taken_for_a_clip(embedded):
    with pytest.raises(BadInput, match=r"^guidance.loss clip: the model that was loaded is a diffusion model"):
        embedded.for_prompt(PROMPT, GuidanceSettings(loss="clip"))


@pytest.mark.parametrize("changed", [{"perp_neg": 1.0}, {"multiview": True}])
def test_what_a_clip_cannot_do_is_refused_with_the_settings(changed):
    with pytest.raises(ValueError, match=r"loss clip has no diffusion model .* set perp_neg=0 and multiview=false \(given"):
        GuidanceSettings(loss="clip", **changed)
