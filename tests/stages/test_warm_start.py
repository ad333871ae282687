"""A field that begins with views drawn together: it comes to look like them; skipped, stopped and refused as any step of the stage is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import bind
from one_device import PRETENDED, OneDevice, assert_on
from outcomes import poor_outcome
from stub_score import StubScore
from tiny_folders import write_folder
from torch import Tensor

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.config.coarse import WarmStartSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.records import Cameras, FieldSample, Shading, Views
from dreamfusion_mesh.records.diffusion import Answers
from dreamfusion_mesh.render import volume
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views, random_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.stages.checkpoint import State, snapshot
from dreamfusion_mesh.stages.coarse import Coarse, fit_field, load_coarse
from dreamfusion_mesh.stages.fit import Fit, Hooks
from dreamfusion_mesh.stages.restore import check_tensor, load_draws
from dreamfusion_mesh.stages.warm_start import DrawnViews, pictures_of

CPU = torch.device("cpu")
FLAT = ViewSettings(lambertian=0.0, textureless=0.0)
SMALL = FieldSettings(levels=2, table_size_log2=8, finest=8, hidden=8)
WARM = WarmStartSettings(draw_steps=3, image_steps=3)
SHORT = CoarseSettings(
    steps=9, start="views", warm_start=WARM, size=8, views=2, samples=16, occupancy_size=8, checkpoint_seconds=0, field=SMALL
)
BACKGROUNDS = ((0.2, 0.2, 0.2), (0.9, 0.9, 0.9), (0.1, 0.5, 0.9), (0.5, 0.6, 0.4))


def ellipsoid(points: Tensor, normals: bool) -> FieldSample:
    """Twice as wide as deep, red on the right and green on the left."""
    inside = (points / torch.tensor([0.6, 0.4, 0.3])).square().sum(1) < 1
    right = (points[:, :1] > 0).float()
    return FieldSample(torch.where(inside, 60.0, 0.0), torch.cat((right, 1 - right, torch.zeros_like(right)), 1), None)


def seen_from(cameras: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
    """rgb and alpha of the ellipsoid."""
    views = dataclasses.replace(plain_views(cameras, Shading.ALBEDO, (1, 1, 1), 0.35, 0.7), background=background)
    render = render_volume(ellipsoid, OccupancyGrid(4), views, shader(views), 96, torch.Generator(), False, jitter=False)
    return render.rgb, render.alpha


class Certain(StubScore):
    """A model that sees views together and knows what is there: the ellipsoid, before another background in each view."""

    def __init__(self, size: int, device: torch.device | str = "cpu") -> None:
        super().__init__(size, device=device)
        self.schedule = StubScore.__init__ and self.schedule
        self.asked: list[Views] = []

    def seeing_together(self) -> Certain:
        return self

    def nearest_image(self, latents: Tensor) -> Tensor:
        return latents.clamp(-1, 1)

    def decode(self, latents: Tensor) -> Tensor:
        return (latents.permute(0, 2, 3, 1) + 1) / 2

    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        self.times += t.tolist()
        self.asked.append(views)
        images, _ = seen_from(views.cameras, torch.tensor(BACKGROUNDS))
        return Answers("sample", self.encode(images))


def fit(model: Any, settings: CoarseSettings, hooks: Hooks | None = None, seed: int = 0) -> tuple[Coarse, State]:
    guidance = getattr(model, "settings", GuidanceSettings())
    return fit_field(model, settings, FLAT, guidance, torch.Generator().manual_seed(seed), CPU, hooks)


def test_the_field_comes_to_look_like_what_was_drawn_from_sides_that_were_not() -> None:
    field = FieldSettings(levels=4, table_size_log2=12, finest=32, hidden=16)
    warm = WarmStartSettings(draw_steps=4, image_steps=100)
    settings = CoarseSettings(steps=104, start="views", warm_start=warm, size=32, samples=40, occupancy_size=24, field=field)
    model = Certain(32)
    found, _ = fit(model, settings)
    (cameras,) = {id(views.cameras): views.cameras for views in model.asked}.values()
    assert torch.rad2deg(cameras.azimuth).tolist() == pytest.approx([0, 90, 180, 270], abs=1e-4)
    assert torch.rad2deg(cameras.elevation).tolist() == pytest.approx([20] * 4, abs=1e-4)
    for cameras, least in ((cameras, 28), (turntable(4, 0.5, 2.6, 0.7, 32, 32, "cpu"), 22)):
        rgb, alpha = seen_from(cameras, torch.full((4, 3), 0.5))
        views = plain_views(cameras, Shading.ALBEDO, (0.5, 0.5, 0.5), 0.35, 0.7)
        with torch.no_grad():
            ours = render_volume(found.field, found.occupancy, views, shader(views), 96, torch.Generator(), False, jitter=False)
        errors = (ours.rgb - rgb).square().mean(), (ours.alpha - alpha).square().mean()
        print([-10 * math.log10(float(error)) for error in errors])
        assert min(-10 * math.log10(float(error)) for error in errors) >= least
