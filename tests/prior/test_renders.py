"""Renders show the object whole, in its caption's colour, in grey where the caption says clay, from where it says."""

import math

import numpy as np
import pytest
import torch

from dreamfusion_mesh.config import ViewSettings
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.views import plain_views
from tools.prior.captions import COLOURS, FINISHES, Scene, Thing, parse
from tools.prior.finishes import apply
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw
from tools.prior.renders import photograph, render
from tools.prior.world import build, draw_scene


@pytest.fixture(scope="module")
def rasterizer():
    return resolve_rasterizer("auto", "cpu")


def draw_of(seed):
    return Draw(torch.Generator().manual_seed(seed))


def fixed_views(shading, background, angles=((20, 10), (110, 10), (200, 10)), side=64):
    turns = torch.tensor(angles, dtype=torch.float32).deg2rad()
    count = len(turns)
    cameras = orbit(turns[:, 0], turns[:, 1], torch.full((count,), 2.6), torch.full((count,), math.radians(40)), side, side)
    return plain_views(cameras, shading, background, 0.35, 0.7)


def seen_albedo(built, rasterizer, background=(0.5, 0.5, 0.5)):
    views = fixed_views(Shading.ALBEDO, background)
    rgb, alpha = render([built], torch.zeros(len(views), dtype=torch.int64), views, rasterizer, 1)
    return rgb[alpha[..., 0] > 0.5]


@pytest.mark.parametrize("name", KINDS)
def test_the_captions_colour_is_the_commonest(name, rasterizer):
    palette = torch.tensor(list(COLOURS.values()))
    for colour, part in (("turquoise", "red"), ("pink", "black")):
        pixels = seen_albedo(build(Scene(Thing(name, colour, part)), draw_of(7)), rasterizer)
        near = torch.cdist(pixels, palette).argmin(1)
        counts = torch.bincount(near, minlength=len(palette)).tolist()
        assert list(COLOURS)[int(np.argmax(counts))] == colour, dict(zip(COLOURS, counts, strict=True))
        assert counts[list(COLOURS).index(part)] > 0.012 * len(pixels), "the part is too small to be seen"


def test_objects_are_seen_whole_and_large(rasterizer):
    draw, views = draw_of(0), torch.Generator().manual_seed(0)
    scenes = [build(draw_scene(draw), draw) for _ in range(24)]
    made = photograph(scenes, 4, rasterizer, views, "cpu", supersample=1)
    share = made.alpha.mean((1, 2, 3))
    assert share.min() > 0.01
    assert share.max() < 0.65
    border = torch.cat((made.alpha[:, [0, -1]].flatten(1), made.alpha[:, :, [0, -1]].flatten(1)), 1)
    assert border.max() == 0


def test_clay_is_grey_and_its_caption_says_so(rasterizer):
    draw, chance = draw_of(1), torch.Generator().manual_seed(1)
    settings = ViewSettings(lambertian=0.4, textureless=0.3, grey_backgrounds=1.0)
    scenes = [build(Scene(Thing("apple", "red")), draw), build(Scene(Thing("chair", "green")), draw)]
    made = photograph(scenes, 16, rasterizer, chance, "cpu", supersample=1, settings=settings)
    clay = made.views.shading == Shading.TEXTURELESS
    assert 4 < clay.sum() < 20
    spread = made.rgb.amax(-1) - made.rgb.amin(-1)
    assert spread[clay].max() < 1e-6
    assert (spread[~clay].amax((1, 2)) > 0.3).all()
    for caption, grey in zip(made.captions, clay.tolist(), strict=True):
        assert parse(caption).clay == grey


def test_captions_name_the_view(rasterizer):
    draw = draw_of(2)
    made = photograph([build(draw_scene(draw), draw)], 64, rasterizer, torch.Generator().manual_seed(2), "cpu", supersample=1)
    azimuth, elevation = made.views.cameras.azimuth.rad2deg().abs(), made.views.cameras.elevation.rad2deg()
    for i, caption in enumerate(made.captions):
        want = 3 if elevation[i] > 50 else 0 if azimuth[i] <= 45 else 2 if azimuth[i] >= 135 else 1
        assert caption.endswith(VIEW_SUFFIXES[want])


def test_fronts_face_plus_z(rasterizer):
    """A ghost's dark eyes are seen from +Z and hidden from -Z."""
    built = build(Scene(Thing("ghost", "white", "white")), draw_of(3))
    views = fixed_views(Shading.ALBEDO, (1.0, 1.0, 1.0), ((0, 0), (180, 0)))
    rgb, _ = render([built], torch.zeros(2, dtype=torch.int64), views, rasterizer, 1)
    dark = (rgb.amax(-1) < 0.3).float().mean((1, 2))
    assert dark[0] > 0.005
    assert dark[1] == 0


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.sided])
def test_sided_kinds_look_otherwise_from_each_side(name, rasterizer):
    views = fixed_views(Shading.LAMBERTIAN, (1.0, 1.0, 1.0), ((0, 15), (90, 15), (180, 15), (-90, 15)))
    least = []
    for seed in range(4):
        rgb, alpha = render([build(Scene(Thing(name)), draw_of(seed))], torch.zeros(4, dtype=torch.int64), views, rasterizer, 1)
        change = [float((rgb[a] - rgb[b]).abs().mean(-1).sum() / alpha[a].sum()) for a, b in ((0, 2), (0, 1), (0, 3), (2, 1), (2, 3))]
        least.append(min(change))
    assert np.mean(least) > 0.035


def test_scenes_rendered_together_are_as_alone(rasterizer):
    draw = draw_of(4)
    scenes = [build(draw_scene(draw), draw) for _ in range(3)]
    one = fixed_views(Shading.LAMBERTIAN, (0.2, 0.4, 0.6), ((30, 20),))
    three = fixed_views(Shading.LAMBERTIAN, (0.2, 0.4, 0.6), ((30, 20),) * 3)
    together, _ = render(scenes, torch.arange(3), three, rasterizer, 1)
    alone = torch.cat([render([built], torch.zeros(1, dtype=torch.int64), one, rasterizer, 1)[0] for built in scenes])
    assert torch.equal(together, alone)


def test_supersampling_is_an_area_average(rasterizer):
    draw = draw_of(5)
    scenes, where = [build(draw_scene(draw), draw)], torch.zeros(1, dtype=torch.int64)
    fine, alpha = render(scenes, where, fixed_views(Shading.ALBEDO, (0.0, 0.0, 0.0), ((30, 20),), 128), rasterizer, 1)
    rgb, share = render(scenes, where, fixed_views(Shading.ALBEDO, (0.0, 0.0, 0.0), ((30, 20),), 128), rasterizer, 2)
    assert rgb.shape == (1, 64, 64, 3)
    assert rgb == pytest.approx(fine.reshape(1, 64, 2, 64, 2, 3).mean((2, 4)), abs=1e-6)
    assert set((share * 4).unique().tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert float(share.mean()) == pytest.approx(float(alpha.mean()), abs=1e-6)


def test_finishes_keep_the_hue_and_differ():
    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.7
    normals = torch.nn.functional.normalize(points, dim=1)
    blue = torch.tensor(COLOURS["blue"]).expand(4000, 3)
    looks = []
    for row in range(-1, len(FINISHES)):
        seeds = torch.full((4000,), 11)
        made = apply(blue, points, normals, torch.full((4000,), row), seeds)
        assert torch.equal(made, apply(blue, points, normals, torch.full((4000,), row), seeds))
        assert (made.argmax(1) == 2).float().mean() > 0.55
        looks.append(made)
    assert torch.equal(looks[0], blue)
    for i in range(len(looks)):
        for j in range(i):
            assert (looks[i] - looks[j]).abs().mean() > 0.02


def test_pictures_are_the_seeds_alone(rasterizer):
    def made():
        draw = draw_of(6)
        return photograph([build(draw_scene(draw), draw) for _ in range(2)], 2, rasterizer, draw.generator, "cpu", supersample=1)

    first, again = made(), made()
    assert torch.equal(first.rgb, again.rgb)
    assert first.captions == again.captions
