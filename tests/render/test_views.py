"""Views of a step: azimuths evenly spaced, draws in range and repeatable, light above the camera."""

import math

import torch

from dreamfusion_mesh.config import ViewSettings
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.views import plain_views, random_views

DEGREES = math.pi / 180


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_random_azimuths_are_evenly_spaced_and_two_views_are_opposite():
    for count in (1, 2, 3, 8):
        azimuth = random_views(count, ViewSettings(), 8, 8, _generator(count), "cpu").cameras.azimuth.double()
        assert (azimuth.abs() <= math.pi + 1e-6).all()
        gaps = torch.remainder(azimuth - azimuth[0], 2 * math.pi)
        wanted = torch.arange(count, dtype=torch.float64) * 2 * math.pi / count
        torch.testing.assert_close(
            torch.remainder(gaps - wanted + 1, 2 * math.pi), torch.ones(count, dtype=torch.float64), rtol=0, atol=1e-5
        )


def test_random_views_stay_in_range_with_the_shares_asked_for():
    settings = ViewSettings(overhead=0.25, lambertian=0.5, textureless=0.2, grey_backgrounds=0.3)
    count = 4000
    views = random_views(count, settings, 4, 4, _generator(3), "cpu")
    cameras = views.cameras
    elevation, fov = cameras.elevation / DEGREES, cameras.fov_y / DEGREES
    distance = cameras.positions.norm(dim=1)
    for value, (low, high) in ((distance, settings.distance), (fov, settings.fov_y_degrees), (elevation, (-10, 85))):
        assert value.min() >= low - 1e-3
        assert value.max() <= high + 1e-3
        assert value.max() - value.min() > 0.9 * (high - low)
    grey = (views.background == views.background[:, :1]).all(dim=1)
    shares = {
        "overhead": (elevation > 50).double().mean(),
        "lambertian": (views.shading == Shading.LAMBERTIAN).double().mean(),
        "textureless": (views.shading == Shading.TEXTURELESS).double().mean(),
        "grey_backgrounds": grey.double().mean(),
    }
    for name, share in shares.items():
        wanted = getattr(settings, name)
        assert abs(float(share) - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / count), name
    assert ((views.background >= 0) & (views.background <= 1)).all()


def test_flat_views_are_not_lit_and_draw_as_many_numbers():
    settings = ViewSettings(lambertian=0.9, textureless=0.1)
    early, late = (_generator(), _generator())
    first, second = (random_views(16, settings, 4, 4, draws, "cpu", flat) for draws, flat in ((early, True), (late, False)))
    assert (first.shading == Shading.ALBEDO).all()
    assert (second.shading != Shading.ALBEDO).all()
    assert torch.equal(early.get_state(), late.get_state())
    assert torch.equal(first.background, second.background)


def test_lights_come_from_above_the_camera_and_stray_as_asked():
    tight = random_views(64, ViewSettings(light_spread=0.0), 4, 4, _generator(), "cpu")
    azimuth = tight.cameras.azimuth
    expected = torch.stack((azimuth.sin(), torch.full_like(azimuth, 0.8), azimuth.cos()), dim=1) / math.sqrt(1.64)
    torch.testing.assert_close(tight.lights.directions, expected)
    loose = random_views(64, ViewSettings(), 4, 4, _generator(), "cpu").lights
    torch.testing.assert_close(loose.directions.norm(dim=1), torch.ones(64))
    assert (loose.directions - expected).norm(dim=1).mean() > 0.1
    assert (loose.ambient == 0.35).all()
    assert (loose.diffuse == 0.7).all()


def test_the_same_seed_gives_the_same_bits():
    first, second, other = (random_views(4, ViewSettings(), 8, 8, _generator(seed), "cpu") for seed in (7, 7, 8))
    assert torch.equal(first.cameras.to_world, second.cameras.to_world)
    assert torch.equal(first.lights.directions, second.lights.directions)
    assert torch.equal(first.background, second.background)
    assert not torch.equal(first.cameras.to_world, other.cameras.to_world)


def test_target_jitter_leaves_the_position_and_position_jitter_moves_it():
    plain, aimed, moved = (
        random_views(32, ViewSettings(**jitter), 4, 4, _generator(), "cpu").cameras
        for jitter in ({}, {"target_jitter": 0.1}, {"position_jitter": 0.1})
    )
    assert torch.equal(plain.positions, aimed.positions)
    assert not torch.allclose(plain.to_world[:, :3, 2], aimed.to_world[:, :3, 2], atol=1e-3)
    step = (moved.positions - plain.positions).abs()
    assert step.max() <= 0.1 + 1e-6
    assert step.max() > 0.09


def test_plain_views_hold_the_light_above_the_camera():
    cameras = turntable(5, 0.3, 2.6, 0.7, 8, 8, "cpu")
    views = plain_views(cameras, Shading.TEXTURELESS, (1.0, 0.5, 0.25), 0.35, 0.7)
    assert (views.shading == Shading.TEXTURELESS).all()
    assert torch.equal(views.background, torch.tensor([1.0, 0.5, 0.25]).expand(5, 3))
    away = torch.nn.functional.normalize(cameras.positions * torch.tensor([1.0, 0, 1]), dim=1)
    flat = torch.nn.functional.normalize(views.lights.directions * torch.tensor([1.0, 0, 1]), dim=1)
    torch.testing.assert_close(flat, away)
    assert (views.lights.directions[:, 1] > 0.5).all()
