"""Cameras: rays and clip space agree, poles are no exception, draws are stratified, in range and repeatable."""

import math

import pytest
import torch

from dreamfusion_mesh.config import ViewSettings
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import clip_from_world, orbit, plain_views, random_views, rays, turntable

DEGREES = math.pi / 180


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _orbit(azimuth, elevation, height=5, width=8, dtype=torch.float64, **more):
    azimuth, elevation = torch.tensor(azimuth, dtype=dtype), torch.tensor(elevation, dtype=dtype)
    return orbit(azimuth, elevation, torch.full_like(azimuth, 2.6), torch.full_like(azimuth, 0.7), height, width, **more)


ANGLES = ([0.0, 0.9, -2.7, 3.1, 0.4, 0.4], [0.0, -0.2, 0.8, 1.2, math.pi / 2, -math.pi / 2])


def test_points_along_rays_land_on_their_pixels_centres_at_their_depth():
    jitter = torch.randn(3, 6, 3, generator=_generator(), dtype=torch.float64) * 0.1
    for more in ({}, {"position_offset": jitter[0], "target": jitter[1], "up_offset": jitter[2]}):
        cameras = _orbit(*ANGLES, **more)
        origins, directions = rays(cameras)
        along = torch.rand(6, 5, 8, 1, generator=_generator(1), dtype=torch.float64) * 3 + 0.5
        points = torch.cat((origins + along * directions, torch.ones_like(along)), dim=3)
        clip = torch.einsum("bij,bhwj->bhwi", clip_from_world(cameras, 0.1, 10.0), points)
        ndc = clip[..., :3] / clip[..., 3:]
        x = (torch.arange(8, dtype=torch.float64) + 0.5) / 8 * 2 - 1
        y = 1 - (torch.arange(5, dtype=torch.float64) + 0.5) / 5 * 2
        torch.testing.assert_close(ndc[..., 0], x.expand(6, 5, 8), rtol=0, atol=1e-12)
        torch.testing.assert_close(ndc[..., 1], y[:, None].expand(6, 5, 8), rtol=0, atol=1e-12)
        depth = (along * (directions * -cameras.to_world[:, None, None, :3, 2]).sum(-1, keepdim=True))[..., 0]
        torch.testing.assert_close(clip[..., 3], depth, rtol=0, atol=1e-12)


def test_rays_are_unit_and_span_the_field_of_view():
    cameras = _orbit(*ANGLES, height=400, width=3)
    origins, directions = rays(cameras)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(6, 400, 3, dtype=torch.float64))
    assert torch.equal(origins[:, 7, 1], cameras.positions)
    middle = directions[:, :, 1]
    seen = torch.acos((middle[:, 0] * middle[:, -1]).sum(-1))
    expected = 2 * math.atan(math.tan(0.35) * 399 / 400)
    torch.testing.assert_close(seen, torch.full((6,), expected, dtype=torch.float64), rtol=0, atol=1e-7)


def test_near_and_far_planes_map_to_minus_one_and_one():
    cameras = _orbit([0.3], [0.2])
    forward = -cameras.to_world[0, :3, 2]
    points = torch.stack([torch.cat((cameras.positions[0] + far * forward, torch.ones(1, dtype=torch.float64))) for far in (0.5, 4.0)])
    clip = points @ clip_from_world(cameras, 0.5, 4.0)[0].T
    torch.testing.assert_close(clip[:, 2] / clip[:, 3], torch.tensor([-1.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize(("near", "far"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_clip_planes_out_of_order_are_refused(near, far):
    with pytest.raises(ValueError, match="near"):
        clip_from_world(_orbit([0.0], [0.0]), near, far)


def test_frames_are_rotations_that_look_at_the_origin_upright_even_at_the_poles():
    cameras = _orbit(*ANGLES)
    frame = cameras.to_world[:, :3, :3]
    torch.testing.assert_close(frame.transpose(1, 2) @ frame, torch.eye(3, dtype=torch.float64).expand(6, 3, 3))
    torch.testing.assert_close(torch.linalg.det(frame), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(cameras.positions, 2.6 * frame[:, :, 2])
    assert (frame[:, 1, 0].abs() < 1e-12).all(), "the horizon is level"
    assert (frame[:4, 1, 1] > 0).all(), "up is up"


def test_azimuth_zero_sees_the_front_and_grows_towards_plus_x():
    cameras = _orbit([0.0, math.pi / 2, 0.0], [0.0, 0.0, math.pi / 2])
    axes = torch.tensor([[0.0, 0, 2.6], [2.6, 0, 0], [0, 2.6, 0]], dtype=torch.float64)
    torch.testing.assert_close(cameras.positions, axes, rtol=0, atol=1e-12)
    torch.testing.assert_close(cameras.to_world[0, :3, 0], torch.tensor([1.0, 0, 0], dtype=torch.float64))


def test_jitter_moves_the_camera_and_what_it_looks_at():
    offset = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    target = torch.tensor([[0.2, 0.1, -0.1]], dtype=torch.float64)
    still, moved = _orbit([0.5], [0.3]), _orbit([0.5], [0.3], position_offset=offset, target=target)
    torch.testing.assert_close(moved.positions, still.positions + offset)
    gaze = torch.nn.functional.normalize(target - moved.positions, dim=1)
    torch.testing.assert_close(-moved.to_world[:, :3, 2], gaze)
    away = moved.positions.norm()
    direction = torch.stack(
        (moved.elevation.cos() * moved.azimuth.sin(), moved.elevation.sin(), moved.elevation.cos() * moved.azimuth.cos())
    )
    torch.testing.assert_close(direction.T * away, moved.positions)


def test_random_azimuths_are_evenly_spaced_and_two_views_are_opposite():
    for count in (1, 2, 3, 8):
        azimuth = random_views(count, ViewSettings(), 8, 8, _generator(count), 0, "cpu").cameras.azimuth.double()
        assert (azimuth.abs() <= math.pi + 1e-6).all()
        gaps = torch.remainder(azimuth - azimuth[0], 2 * math.pi)
        wanted = torch.arange(count, dtype=torch.float64) * 2 * math.pi / count
        torch.testing.assert_close(
            torch.remainder(gaps - wanted + 1, 2 * math.pi), torch.ones(count, dtype=torch.float64), rtol=0, atol=1e-5
        )


def test_random_views_stay_in_range_with_the_shares_asked_for():
    settings = ViewSettings(overhead=0.25, lambertian=0.5, textureless=0.2, grey_backgrounds=0.3)
    count = 4000
    views = random_views(count, settings, 4, 4, _generator(3), 0, "cpu")
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


def test_the_first_steps_are_flat_and_draw_as_many_numbers():
    settings = ViewSettings(albedo_steps=5, lambertian=0.9, textureless=0.1)
    early, late = (_generator(), _generator())
    first, second = (random_views(16, settings, 4, 4, draws, step, "cpu") for draws, step in ((early, 4), (late, 5)))
    assert (first.shading == Shading.ALBEDO).all()
    assert (second.shading != Shading.ALBEDO).all()
    assert torch.equal(early.get_state(), late.get_state())
    assert torch.equal(first.background, second.background)


def test_lights_come_from_above_the_camera_and_stray_as_asked():
    tight = random_views(64, ViewSettings(light_spread=0.0), 4, 4, _generator(), 0, "cpu")
    azimuth = tight.cameras.azimuth
    expected = torch.stack((azimuth.sin(), torch.full_like(azimuth, 0.8), azimuth.cos()), dim=1) / math.sqrt(1.64)
    torch.testing.assert_close(tight.lights.directions, expected)
    loose = random_views(64, ViewSettings(), 4, 4, _generator(), 0, "cpu").lights
    torch.testing.assert_close(loose.directions.norm(dim=1), torch.ones(64))
    assert (loose.directions - expected).norm(dim=1).mean() > 0.1
    assert (loose.ambient == 0.35).all()
    assert (loose.diffuse == 0.7).all()


def test_the_same_seed_gives_the_same_bits():
    first, second, other = (random_views(4, ViewSettings(), 8, 8, _generator(seed), 3, "cpu") for seed in (7, 7, 8))
    assert torch.equal(first.cameras.to_world, second.cameras.to_world)
    assert torch.equal(first.lights.directions, second.lights.directions)
    assert torch.equal(first.background, second.background)
    assert not torch.equal(first.cameras.to_world, other.cameras.to_world)


def test_target_jitter_leaves_the_position_and_position_jitter_moves_it():
    plain, aimed, moved = (
        random_views(32, ViewSettings(**jitter), 4, 4, _generator(), 0, "cpu").cameras
        for jitter in ({}, {"target_jitter": 0.1}, {"position_jitter": 0.1})
    )
    assert torch.equal(plain.positions, aimed.positions)
    assert not torch.allclose(plain.to_world[:, :3, 2], aimed.to_world[:, :3, 2], atol=1e-3)
    step = (moved.positions - plain.positions).abs()
    assert step.max() <= 0.1 + 1e-6
    assert step.max() > 0.09


def test_a_turntable_starts_in_front_and_goes_round_evenly():
    cameras = turntable(8, 0.3, 2.6, 0.7, 12, 16, "cpu")
    torch.testing.assert_close(cameras.azimuth, torch.arange(8) * (math.pi / 4))
    torch.testing.assert_close(cameras.positions.norm(dim=1), torch.full((8,), 2.6))
    torch.testing.assert_close(cameras.positions[:, 1], torch.full((8,), 2.6 * math.sin(0.3)))
    assert (cameras.height, cameras.width, len(cameras)) == (12, 16, 8)


def test_plain_views_hold_the_light_above_the_camera():
    cameras = turntable(5, 0.3, 2.6, 0.7, 8, 8, "cpu")
    views = plain_views(cameras, Shading.TEXTURELESS, (1.0, 0.5, 0.25), 0.35, 0.7)
    assert (views.shading == Shading.TEXTURELESS).all()
    assert torch.equal(views.background, torch.tensor([1.0, 0.5, 0.25]).expand(5, 3))
    away = torch.nn.functional.normalize(cameras.positions * torch.tensor([1.0, 0, 1]), dim=1)
    flat = torch.nn.functional.normalize(views.lights.directions * torch.tensor([1.0, 0, 1]), dim=1)
    torch.testing.assert_close(flat, away)
    assert (views.lights.directions[:, 1] > 0.5).all()
