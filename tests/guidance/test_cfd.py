"""Consistent flow distillation: noise on the surface, of unit variance and the same from everywhere, and its gradient in closed form."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from analytic_scores import SCHEDULE, Gaussian, Mixture
from guided import column, normal, views_around
from loss_steps import step_of
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.config.distillation import CfdSettings
from dreamfusion_mesh.guidance.losses import sdi
from dreamfusion_mesh.guidance.losses.cfd import ConsistentFlow, flow_weight
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.guidance.losses.surface_noise import HASHED, evolve, pixel_noise, pixel_rows, voxel_rows
from dreamfusion_mesh.records import SurfacePoints
from dreamfusion_mesh.records.diffusion import Answers

SPANS = (0.02, 0.02), (0.9, 0.5)
SIDE, DATA = 8, Gaussian(0.3, 0.4)


@dataclasses.dataclass
class Model:
    """A ScoreModel in closed form whose latents are the images, with `patch` pixels a side folded into channels."""

    data: Any = DATA
    patch: int = 1
    spoil: float = 0.0
    schedule, together, warnings = SCHEDULE, 1, ()

    def __post_init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def encode(self, images: Tensor) -> Tensor:
        return torch.nn.functional.pixel_unshuffle(images.double().permute(0, 3, 1, 2), self.patch)

    def answer(self, noisy: Tensor, t: Tensor, views: object) -> Answers:
        self.seen.append((noisy, t))
        return Answers("epsilon", self.data.eps(noisy, t) + self.spoil)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def settings_of(**cfd: float) -> GuidanceSettings:
    return GuidanceSettings(loss="cfd", cfd=CfdSettings(**cfd))


def scattered(count: int = 2, side: int = 2 * SIDE, seed: int = 4) -> SurfacePoints:
    """Points all over the box, a quarter of the rays missing it."""
    return SurfacePoints(normal(count, side, side, 3, seed=seed).clamp(-2, 2) / 2, normal(count, side, side, seed=seed + 1) < 0.7)


def step_at(images: Tensor, progress: float = 0.25, seed: int = 0, seen: SurfacePoints | None = None) -> Step:
    count = len(images)
    step = step_of(images, views_around(count), *SPANS, progress, draws(seed))
    return dataclasses.replace(step, points=seen or scattered(count))


def noise_in(model: Model, latents: Tensor) -> Tensor:
    """The noise that was added to `latents` when the model was last asked."""
    noisy, t = model.seen[-1]
    return (noisy - column(SCHEDULE.signal[t]) * latents) / column(SCHEDULE.noise[t])


def test_a_pixels_noise_has_unit_variance_whatever_the_counts() -> None:
    """Of the identity the sums are their coefficients: c_v over the root of the sum of the squares."""
    rows = torch.tensor([[5, 5, 5, 5], [1, 2, 3, 4], [7, 7, 0, 6], [3, 3, 9, 9]]).reshape(1, 2, 2, 4)
    found = pixel_noise(torch.eye(10, dtype=torch.float64), rows)[0].flatten(1).T
    expected = torch.zeros(4, 10, dtype=torch.float64)
    expected[0, 5] = 1
    expected[1, 1:5] = 0.5
    expected[2, [7, 0, 6]] = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64) / math.sqrt(6)
    expected[3, [3, 9]] = math.sqrt(0.5)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.square().sum(dim=1), torch.ones(4, dtype=torch.float64), rtol=1e-12, atol=0)


def test_two_cameras_see_the_same_noise_on_the_same_points() -> None:
    """The second one sees the picture of the first turned upside down."""
    seen = scattered(1)
    everywhere = dataclasses.replace(seen, hit=torch.ones_like(seen.hit))
    both = SurfacePoints(*(torch.cat((each, each.flip(1, 2))) for each in (everywhere.points, everywhere.hit)))
    loss = ConsistentFlow(Model(), settings_of(), SIDE, draws())
    first, second = loss.surface_noise(both)
    assert torch.equal(first, second.flip(1, 2))
    assert 0.8 < float(first.std()) < 1.2


def test_the_background_keeps_its_noise_in_the_picture() -> None:
    seen = scattered(2)
    nothing = dataclasses.replace(seen, hit=torch.zeros_like(seen.hit))
    loss = ConsistentFlow(Model(), settings_of(), SIDE, draws())
    first, second = loss.surface_noise(nothing)
    assert torch.equal(first, second)
    assert torch.equal(first, loss.noise[HASHED:].T.reshape(3, SIDE, SIDE))


def test_a_voxel_is_one_row_and_its_neighbours_are_others() -> None:
    inside = torch.tensor([[0.01, 0.01, 0.01], [0.12, 0.11, 0.12], [0.13, 0.01, 0.01], [-0.01, 0.01, 0.01], [0.01, 0.01, -0.01]])
    rows = voxel_rows(inside, 16).tolist()
    assert rows[0] == rows[1]
    assert len(set(rows)) == 4
    assert 0 <= min(rows) <= max(rows) < HASHED
    lattice = torch.cartesian_prod(*[torch.arange(16) / 8 - 1 + 1e-3] * 3)
    assert len(voxel_rows(lattice, 16).unique()) > 0.95 * 16**3


def test_points_have_to_divide_among_the_pixels() -> None:
    with pytest.raises(ValueError, match="points: 16 x 16, expected a square of a multiple of 5"):
        pixel_rows(scattered(1), 5, 8)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_the_noise_is_renewed_by_gamma_and_keeps_its_variance(gamma: float) -> None:
    before = normal(50_000, 2)
    table = before.clone()
    evolve(table, gamma, draws(9))
    assert float(table.square().mean()) == pytest.approx(1, abs=0.02)
    assert float((table * before).mean()) == pytest.approx(math.sqrt(1 - gamma), abs=0.02)
    assert torch.equal(table, before) == (gamma == 0)
    if gamma == 1:
        assert torch.equal(table, torch.randn(table.shape, generator=draws(9)))


@pytest.mark.parametrize("patch", [1, 2])
def test_the_gradient_is_the_closed_form(patch: int) -> None:
    model = Model(patch=patch)
    images = normal(2, SIDE, SIDE, 3, dtype=torch.float64).requires_grad_()
    loss = ConsistentFlow(model, settings_of(most_weight=1.5), SIDE, draws())
    step = step_at(images)
    found = loss(step)
    found.loss.backward()
    latents = model.encode(images.detach())
    noise, t = noise_in(model, latents), found.t
    assert t.tolist() == [800, 800], "t_max goes from 0.9 to 0.5 in one line"
    signal, sigma = (column(values[t]) for values in (SCHEDULE.signal, SCHEDULE.noise))
    residual = sigma * (signal * (latents - 0.3) + sigma * noise) / (signal**2 * 0.16 + sigma**2) - noise
    weights = (sigma / signal).clamp_max(1.5)
    expected = torch.nn.functional.pixel_shuffle(weights * residual / latents.numel(), patch).permute(0, 2, 3, 1)
    torch.testing.assert_close(images.grad, expected, rtol=1e-9, atol=1e-12)
    assert found.residual == pytest.approx(float(residual.square().mean().sqrt()), rel=1e-9)
    assert float(noise.std()) == pytest.approx(1, abs=0.15)


def test_with_gamma_1_it_is_annealed_sds_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDI without inversions is SDS with the weight noise / signal; it is given the noise that lay on the surface."""
    images, gradients = normal(2, SIDE, SIDE, 3, dtype=torch.float64), []
    settings = settings_of(gamma=1.0, most_weight=1000.0)
    loss, kept = ConsistentFlow(Model(), settings, SIDE, draws()), images.clone().requires_grad_()
    before = loss.noise.clone()
    loss(step_at(kept)).loss.backward()
    assert torch.equal(loss.noise.float(), torch.randn(before.shape, generator=_after_times())), "nothing is left of the noise before"
    monkeypatch.setattr(sdi, "draw_noise", lambda shape, _: loss.surface_noise(scattered(2)))
    annealed = GuidanceSettings(loss="sdi", sdi=GuidanceSettings().sdi.model_copy(update={"inversions": 0}))
    again = images.clone().requires_grad_()
    sdi.distill(Model(), step_at(again), annealed).loss.backward()
    gradients = [kept.grad, again.grad]
    assert torch.equal(*gradients)
    assert float(gradients[0].abs().sum()) > 0


def _after_times() -> torch.Generator:
    """A step's draws once its times are drawn."""
    generator = draws()
    torch.randint(0, 1, (2,), generator=generator)
    return generator


def test_the_weight_is_noise_over_signal_up_to_its_cap() -> None:
    t = torch.tensor([100, 500, 990])
    assert torch.equal(flow_weight(SCHEDULE, t, 1e9), SCHEDULE.noise[t] / SCHEDULE.signal[t])
    assert flow_weight(SCHEDULE, t, 2.0).tolist() == pytest.approx([float(SCHEDULE.noise[100] / SCHEDULE.signal[100]), 1.0, 2.0], abs=0.05)


def test_of_two_modes_each_place_takes_the_one_that_its_noise_lies_at() -> None:
    """One path of the flow from one noise: a map that rises, so what is above the middle ends at the upper mode. SDS has no such choice."""
    model = Model(Mixture(Gaussian(-1.0, 0.05), Gaussian(1.0, 0.05)))
    loss = ConsistentFlow(model, settings_of(gamma=0.0), SIDE, draws())
    images, seen = torch.zeros(1, SIDE, SIDE, 3, dtype=torch.float64), scattered(1)
    for step in range(200):
        images.requires_grad_()
        found = loss(dataclasses.replace(step_at(images, step / 199, seen=seen), t_max=(0.98, 0.26)))
        (gradient,) = torch.autograd.grad(found.loss, images)
        images = images.detach() - 0.3 * gradient * images.numel()
    noise = loss.surface_noise(seen)[0].permute(1, 2, 0)
    clear = noise.abs() > 0.3
    assert torch.equal(images[0].sign()[clear], noise.sign()[clear])
    assert float((images[0].abs() - 1).abs()[clear].max()) < 0.2


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
def test_nonsense_is_told_and_harmless(spoil: float) -> None:
    images = normal(2, SIDE, SIDE, 3, dtype=torch.float64).requires_grad_()
    found = ConsistentFlow(Model(spoil=spoil), settings_of(), SIDE, draws())(step_at(images))
    found.loss.backward()
    assert not found.finite
    assert torch.equal(images.grad, torch.zeros_like(images))


def test_a_step_has_to_bring_points_of_the_side_that_it_asks_for() -> None:
    model, settings = Model(patch=2), settings_of()
    loss = make_loss(model, settings, SIDE, draws())
    assert loss.points_side == 2 * SIDE
    with pytest.raises(ValueError, match="points: None, but the loss cfd has its noise on the surface"):
        loss(step_of(normal(2, SIDE, SIDE, 3), views_around(2), *SPANS, 0.5, draws()))


def test_the_same_seed_gives_the_same_noise() -> None:
    first, again, other = (ConsistentFlow(Model(), settings_of(), SIDE, draws(seed)).noise for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
