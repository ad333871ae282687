"""Cameras: rays and clip space agree, poles are no exception, draws are stratified, in range and repeatable."""

import math

import pytest
import torch

from dreamfusion_mesh.render.cameras import clip_from_world, orbit, rays, turntable

DEGREES = math.pi / 180


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _orbit(azimuth, elevation, height=5, width=8, dtype=torch.float64, **more):
    azimuth, elevation = torch.tensor(azimuth, dtype=dtype), torch.tensor(elevation, dtype=dtype)
    return orbit(azimuth, elevation, torch.full_like(azimuth, 2.6), torch.full_like(azimuth, 0.7), height, width, **more)


ANGLES = ([0.0, 0.9, -2.7, 3.1, 0.4, 0.4], [0.0, -0.2, 0.8, 1.2, math.pi / 2, -math.pi / 2])


def test_points_along_rays_land_on_their_pixels_centres_at_their_depth():
    jitter = torch.randn(2, 6, 3, generator=_generator(), dtype=torch.float64) * 0.1
    for more in ({}, {"position_offset": jitter[0], "target": jitter[1]}):
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


def test_a_turntable_starts_in_front_and_goes_round_evenly():
    cameras = turntable(8, 0.3, 2.6, 0.7, 12, 16, "cpu")
    torch.testing.assert_close(cameras.azimuth, torch.arange(8) * (math.pi / 4))
    torch.testing.assert_close(cameras.positions.norm(dim=1), torch.full((8,), 2.6))
    torch.testing.assert_close(cameras.positions[:, 1], torch.full((8,), 2.6 * math.sin(0.3)))
    assert (cameras.height, cameras.width, len(cameras)) == (12, 16, 8)
