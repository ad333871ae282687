"""Volume rendering against closed forms, and what skipping may change (nothing)."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.contracts import FieldQuery
from dreamfusion_mesh.records import Cameras, FieldSample, Lights, Render, Shading, Views
from dreamfusion_mesh.render import volume
from dreamfusion_mesh.render.cameras import orbit, rays
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume

COLOR = torch.tensor([0.9, 0.5, 0.1])
RADIUS, SIGMA = 0.5, 1.7


def views(count: int = 2, size: int = 16, shading: Shading = Shading.ALBEDO, background: float = 0.25) -> Views:
    azimuth = torch.arange(count) * (2 * math.pi / count) + 0.4
    full = torch.ones(count)
    cameras = orbit(azimuth, 0.3 * full, 2.6 * full, math.radians(40) * full, size, size)
    lights = Lights(torch.nn.functional.normalize(torch.tensor([[0.3, 0.9, 0.2]]), dim=1).expand(count, 3), 0.3 * full, 0.7 * full)
    return Views(cameras, lights, torch.full((count,), int(shading)), torch.full((count, 3), background))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ball(points: Tensor, normals: bool) -> FieldSample:
    distance = points.norm(dim=1, keepdim=True)
    density = SIGMA * (distance[:, 0] < RADIUS).float()
    return FieldSample(density, COLOR.to(points).expand_as(points), points / distance if normals else None)


def fog(points: Tensor, normals: bool) -> FieldSample:
    return FieldSample(
        torch.full_like(points[:, 0], SIGMA), COLOR.to(points).expand_as(points), torch.zeros_like(points) if normals else None
    )


def draw(
    field: FieldQuery,
    seen: Views,
    samples: int = 64,
    normals: bool = False,
    grid: OccupancyGrid | None = None,
    device: torch.device | str = "cpu",
) -> Render:
    """Rendered on `device`, where a given grid must lie; the views are given and the picture comes back on the CPU."""
    occupancy, there = OccupancyGrid(16, device=device) if grid is None else grid, seen.to(device)
    render = render_volume(field, occupancy, there, shader(there), samples, draws(), normals)
    return Render(*(getattr(render, part.name).cpu() for part in dataclasses.fields(render)))


def chord(cameras: Cameras, radius: float) -> Tensor:
    """Length of each ray within a ball around the origin, [B, H, W]."""
    origins, directions = (part.double() for part in rays(cameras))
    along = (origins * directions).sum(dim=3)
    return 2 * (radius**2 - (origins - directions * along[..., None]).square().sum(dim=3)).clamp_min(0).sqrt()


def way_through_the_box(cameras: Cameras) -> Tensor:
    origins, directions = (part.double() for part in rays(cameras))
    ends = torch.stack(((-1 - origins) / directions, (1 - origins) / directions))
    return (ends.amax(dim=0).amin(dim=3) - ends.amin(dim=0).amax(dim=3)).clamp_min(0)


@pytest.mark.parametrize("samples", [8, 64])
def test_box_of_fog_has_its_exact_opacity_at_any_step_length(samples: int, device: torch.device) -> None:
    seen = views()
    render = draw(fog, seen, samples, device=device)
    wanted = -torch.expm1(-SIGMA * way_through_the_box(seen.cameras))[..., None]
    assert wanted.max() > 0.9
    torch.testing.assert_close(render.alpha.double(), wanted, rtol=0, atol=5e-6)
    torch.testing.assert_close(render.rgb.double(), wanted * COLOR + (1 - wanted) * 0.25, rtol=0, atol=5e-6)
    torch.testing.assert_close(render.albedo.double(), wanted * COLOR, rtol=0, atol=5e-6)


def test_opacity_of_a_ball_follows_its_chord(device: torch.device) -> None:
    seen = views(1, 24)
    length = chord(seen.cameras, RADIUS)
    wanted = -torch.expm1(-SIGMA * length)
    errors = []
    for samples in (400, 4000):
        render = draw(ball, seen, samples, device=device)
        step = 2 * math.sqrt(3) / samples
        error = (render.alpha[..., 0].double() - wanted).abs()
        assert error.max() <= SIGMA * step * 1.01  # at most half a step too much or too little at either end
        errors.append(float(error[length > 0].mean()))
        assert not render.alpha[..., 0][length == 0].any()
    assert errors[1] < 0.15 * errors[0]
    assert errors[1] < 1e-3


def test_every_channel_is_premultiplied(device: torch.device) -> None:
    seen = views(2, 24, Shading.LAMBERTIAN)
    dense = lambda points, normals: FieldSample(  # noqa: E731
        300 * (points.norm(dim=1) < RADIUS).float(), COLOR.to(points).expand_as(points), points / points.norm(dim=1, keepdim=True)
    )
    render = draw(dense, seen, 1000, normals=True, device=device)
    length = chord(seen.cameras, RADIUS)
    hit = length > 0.3
    origins, directions = rays(seen.cameras)
    distance = -(origins * directions).sum(dim=3).double() - length / 2
    surface = origins + directions * distance[..., None].float()
    torch.testing.assert_close(render.alpha[hit], torch.ones_like(render.alpha[hit]), rtol=0, atol=1e-5)
    torch.testing.assert_close(render.depth[..., 0][hit].double(), distance[hit], rtol=0, atol=6e-3)  # two steps
    torch.testing.assert_close(render.normal[hit], surface[hit] / RADIUS, rtol=0, atol=2e-2)
    light = seen.lights.directions[0]
    lit = COLOR * (0.3 + 0.7 * (surface[hit] / RADIUS @ light).clamp_min(0))[:, None]
    torch.testing.assert_close(render.rgb[hit], lit, rtol=0, atol=2e-2)
    empty = length == 0
    for member in (render.alpha, render.depth, render.normal, render.albedo):
        assert not member[empty].any()
    assert (render.rgb[empty] == 0.25).all()


def test_depth_is_the_opacity_weighted_distance(device: torch.device) -> None:
    seen = views(1)
    render = draw(fog, seen, 2000, device=device)
    origins, directions = (part.double() for part in rays(seen.cameras))
    ends = torch.stack(((-1 - origins) / directions, (1 - origins) / directions))
    enter, length = ends.amin(dim=0).amax(dim=3), way_through_the_box(seen.cameras)
    # integral of t sigma exp(-sigma (t - enter)) over the way through
    wanted = torch.where(length > 0, (enter + 1 / SIGMA) * -torch.expm1(-SIGMA * length) - length * torch.exp(-SIGMA * length), 0.0)
    torch.testing.assert_close(render.depth[..., 0].double(), wanted, rtol=0, atol=2e-3)


def oriented(along: Callable[[Tensor], Tensor], sigma: Tensor) -> FieldQuery:
    def field(points: Tensor, normals: bool) -> FieldSample:
        return FieldSample(sigma.to(points).expand(len(points)), COLOR.to(points).expand_as(points), along(points) if normals else None)

    return field


def test_orientation_penalises_back_facing_normals_without_gradient_in_the_weights(device: torch.device) -> None:
    seen = views(1)
    _, directions = rays(seen.cameras)
    towards = directions[0, 8, 8]
    sigma = torch.tensor(SIGMA, requires_grad=True)
    assert not draw(oriented(lambda p: (-towards).to(p).expand_as(p), sigma), seen, normals=True, device=device).orientation.any()
    tilt = torch.tensor(0.0, requires_grad=True)
    away = draw(oriented(lambda p: (towards + tilt).to(p).expand_as(p), sigma), seen, normals=True, device=device)
    cosine = (directions[0] @ towards).clamp_min(0)
    torch.testing.assert_close(away.orientation[0, ..., 0], (away.alpha[0, ..., 0] * cosine.square()).detach(), rtol=1e-4, atol=1e-6)
    in_sigma, in_tilt = torch.autograd.grad(away.orientation.sum(), (sigma, tilt), allow_unused=True)
    assert in_sigma is None or in_sigma == 0
    assert in_tilt.abs() > 0.1


def test_without_normals_normal_and_orientation_are_zero() -> None:
    render = draw(ball, views())
    assert not render.normal.any()
    assert not render.orientation.any()


def test_lit_views_need_normals() -> None:
    with pytest.raises(ValueError, match="normals: None"):
        draw(ball, views(shading=Shading.LAMBERTIAN))


def learnt(logit: Tensor) -> FieldQuery:
    """A ball whose density depends on a parameter."""

    def field(points: Tensor, normals: bool) -> FieldSample:
        sample = ball(points, normals)
        return FieldSample(sample.density * logit.exp().to(points), sample.albedo, sample.normals)

    return field


def test_skipping_empty_cells_changes_nothing_but_the_cost(device: torch.device) -> None:
    seen = views()
    grid = OccupancyGrid(16, device=device)
    for _ in range(3):
        grid.update(lambda points: ball(points, False).density, draws(), 0)
    assert grid.occupied.float().mean() < 0.35
    outcomes = []
    for occupancy in (OccupancyGrid(16, device=device), grid):
        asked = []
        logit = torch.zeros((), requires_grad=True)

        def counted(points: Tensor, normals: bool, logit: Tensor = logit, asked: list[int] = asked) -> FieldSample:
            asked.append(len(points))
            return learnt(logit)(points, normals)

        render = draw(counted, seen, 128, grid=occupancy, device=device)
        render.rgb.square().sum().backward()
        outcomes.append((sum(asked), render, logit.grad))
    (many, whole, wanted), (few, skipped, found) = outcomes
    assert few < 0.4 * many
    for name in ("rgb", "alpha", "albedo", "depth"):
        torch.testing.assert_close(getattr(skipped, name), getattr(whole, name), rtol=0, atol=1e-6)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


def counting(field: FieldQuery, asked: list[int]) -> FieldQuery:
    def counted(points: Tensor, normals: bool) -> FieldSample:
        asked.append(len(points))
        return field(points, normals)

    return counted


def test_samples_behind_an_opaque_surface_are_not_evaluated(device: torch.device) -> None:
    """A core of stone in a shell of mist: what the mist does is seen, its gradient too, and the inside of the stone is not."""
    seen = views(2, 24)

    def field(points: Tensor, normals: bool, logit: Tensor) -> FieldSample:
        distance = points.norm(dim=1)
        density = torch.where(distance < 0.8 * RADIUS, 150.0, torch.where(distance < RADIUS, logit.exp().to(points), 0.0))
        return FieldSample(density, (points + 1) / 2, None)

    aware, unaware = OccupancyGrid(32, device=device), OccupancyGrid(32, device=device)
    for _ in range(3):
        aware.update(lambda points: field(points, False, torch.ones(())).density, draws(), 0)
    unaware.occupied.copy_(aware.occupied)
    outcomes = []
    for grid in (unaware, aware):
        asked: list[int] = []
        logit = torch.ones((), requires_grad=True)
        render = draw(counting(partial(field, logit=logit), asked), seen, 128, grid=grid, device=device)
        (render.rgb * render.depth).sum().backward()
        outcomes.append((sum(asked), render, logit.grad))
    (many, whole, wanted), (few, cut, found) = outcomes
    assert few < 0.65 * many
    for name in ("rgb", "alpha", "albedo"):
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), rtol=0, atol=1e-4)
    torch.testing.assert_close(cut.depth, whole.depth, rtol=0, atol=1e-4 * 3.6)  # of the farthest distance
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("expected", "waves"), [(9.0, 3), (1e9, 4)])
def test_wrong_expected_density_changes_nothing(expected: float, waves: int) -> None:
    """Thin fog that the grid takes for a wall: every ray stays open, so that all is looked at, in the order of before."""
    seen = views()
    mistaken = OccupancyGrid(16)
    mistaken.values.fill_(expected)
    asked: list[int] = []
    found = draw(counting(fog, asked), seen, 64, grid=mistaken)
    wanted = draw(fog, seen, 64)
    assert len(asked) == waves
    assert torch.equal(found.rgb, wanted.rgb)
    assert torch.equal(found.depth, wanted.depth)


def test_gradient_in_the_density_is_that_of_the_closed_form(device: torch.device) -> None:
    seen = views(1)
    sigma = torch.tensor(SIGMA, requires_grad=True)
    render = draw(oriented(torch.zeros_like, sigma), seen, device=device)
    (found,) = torch.autograd.grad(render.alpha.sum(), sigma)
    length = way_through_the_box(seen.cameras)
    assert float(found) == pytest.approx(float((length * torch.exp(-SIGMA * length)).sum()), rel=1e-5)


def test_empty_grid_renders_the_background_with_zero_gradients(device: torch.device) -> None:
    grid = OccupancyGrid(8, device=device)
    grid.occupied.zero_()
    logit = torch.zeros((), requires_grad=True)
    seen = views()
    render = draw(learnt(logit), seen, normals=True, grid=grid, device=device)
    assert (render.rgb == 0.25).all()
    assert not render.alpha.any()
    (render.rgb.sum() + render.orientation.sum() + render.normal.sum()).backward()
    assert logit.grad == 0


def test_jitter_follows_the_generator_alone() -> None:
    seen = views()
    same, again, other = (render_volume(ball, OccupancyGrid(8), seen, shader(seen), 16, draws(s), False).rgb for s in (0, 0, 1))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    kept = draws()
    before = kept.get_state()
    middles = [render_volume(ball, OccupancyGrid(8), seen, shader(seen), 16, kept, False, jitter=False).rgb for _ in range(2)]
    assert torch.equal(*middles)
    assert torch.equal(kept.get_state(), before)


def test_chunks_render_the_same_bits(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    seen = views(2, 16, Shading.LAMBERTIAN)
    with torch.no_grad():
        whole = draw(ball, seen, normals=True, device=device)
        monkeypatch.setattr(volume, "_CHUNK", 1000)
        parts = draw(ball, seen, normals=True, device=device)
    for name in ("rgb", "alpha", "albedo", "normal", "depth", "orientation"):
        assert torch.equal(getattr(whole, name), getattr(parts, name)), name


def test_zero_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="samples 0"):
        draw(ball, views(), 0)
