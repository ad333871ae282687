"""A field that begins with views drawn together: it comes to look like them; skipped, stopped and refused as any step of the stage is."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import bind
from one_device import PRETENDED, OneDevice, assert_on
from stub_score import StubScore
from tiny_folders import write_folder
from torch import Tensor

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.config.coarse import WarmStartSettings
from dreamfusion_mesh.errors import BadInput, PoorOutcome
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.guidance.schedule import draw_noise
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
from dreamfusion_mesh.stages.warm_start import pictures_of

CPU = torch.device("cpu")
FLAT = ViewSettings(lambertian=0.0, textureless=0.0)
SMALL = FieldSettings(levels=2, table_size_log2=8, finest=8, hidden=8)
WARM = WarmStartSettings(draw_steps=3, image_steps=3)
SHORT = CoarseSettings(
    steps=9, start="views", warm_start=WARM, size=8, views=2, samples=16, occupancy_size=8, checkpoint_seconds=0, field=SMALL
)
BACKGROUNDS = ((0.2, 0.2, 0.2), (0.9, 0.9, 0.9), (0.1, 0.5, 0.9), (0.5, 0.6, 0.4))


def ellipsoid(points: Tensor, normals: bool) -> FieldSample:
    """Wider than it is deep, red on the right and green on the left."""
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
        self.asked: list[tuple[Tensor, Views]] = []

    def seeing_together(self) -> Certain:
        return self

    def nearest_image(self, latents: Tensor) -> Tensor:
        return latents.clamp(-1, 1)

    def decode(self, latents: Tensor) -> Tensor:
        return (latents.permute(0, 2, 3, 1) + 1) / 2

    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        self.asked.append((noisy, views))
        images, _ = seen_from(views.cameras, torch.tensor(BACKGROUNDS))
        return Answers("sample", self.encode(images))


class SpoiltDrawing:
    """A bound model of which, for views together, the answers with these numbers, from 0, are NaN."""

    def __init__(self, model: Any, spoilt: range) -> None:
        self._model, self._spoilt = model, spoilt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def seeing_together(self) -> Spoilt:
        return Spoilt(self._model.seeing_together(), self._spoilt)


class Spoilt:
    """See SpoiltDrawing."""

    def __init__(self, model: Any, spoilt: range) -> None:
        self.schedule = model.schedule
        self._model, self._spoilt, self.asked = model, spoilt, 0

    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        self.asked += 1
        answers: Answers = self._model.answer(noisy, t, views)
        return dataclasses.replace(answers, text=answers.text * math.nan) if self.asked - 1 in self._spoilt else answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"), multiview=True, prediction="sample")


def fit(model: Any, settings: CoarseSettings, hooks: Hooks | None = None, device: torch.device = CPU) -> tuple[Coarse, State]:
    guidance = getattr(model, "settings", GuidanceSettings())
    return fit_field(model, settings, FLAT, guidance, torch.Generator().manual_seed(0), device, hooks)


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def decibels(found: Tensor, expected: Tensor) -> float:
    return -10 * math.log10(float((found - expected).square().mean()))


def test_the_field_comes_to_look_like_what_was_drawn_from_other_sides_too() -> None:
    field = FieldSettings(levels=4, table_size_log2=12, finest=32, hidden=16)
    warm = WarmStartSettings(draw_steps=4, image_steps=60, rate=5)
    settings = CoarseSettings(steps=64, start="views", warm_start=warm, size=32, samples=40, occupancy_size=24, field=field)
    model = Certain(32)
    found, _ = fit(model, settings)
    drawn = model.asked[0][1].cameras
    assert torch.rad2deg(drawn.azimuth).tolist() == pytest.approx([0, 90, 180, 270], abs=1e-4)
    assert torch.rad2deg(drawn.elevation).tolist() == pytest.approx([20] * 4, abs=1e-4)
    for cameras, least in ((drawn, 27), (turntable(4, 0.5, 2.6, 0.7, 32, 32, "cpu"), 20)):
        rgb, alpha = seen_from(cameras, torch.full((4, 3), 0.5))
        views = plain_views(cameras, Shading.ALBEDO, (0.5, 0.5, 0.5), 0.35, 0.7)
        with torch.no_grad():
            ours = render_volume(found.field, found.occupancy, views, shader(views), 96, torch.Generator(), False, jitter=False)
        assert decibels(ours.rgb, rgb) >= least
        assert decibels(ours.alpha, alpha) >= least


def test_each_step_is_reported_as_one_of_the_stage_and_distillation_begins_after_them(folder: Path) -> None:
    told: list[tuple[int, int, Mapping[str, float]]] = []
    model = bind(folder, perp_neg=1.0)
    fit(model, SHORT, Hooks(report=lambda stage, done, total, figures, scene: told.append((done, total, figures))))
    assert [(done, total) for done, total, _ in told] == [(step, 9) for step in range(1, 10)]
    assert ["image" in figures for _, _, figures in told] == [False] * 3 + [True] * 3 + [False] * 3
    assert ["residual" in figures for _, _, figures in told] == [False] * 6 + [True] * 3
    assert all(math.isfinite(value) for _, _, figures in told for value in figures.values())
    assert model.together == 1, "the steps that follow see each view alone, as the settings say"


def test_grids_learn_coarse_to_fine(folder: Path) -> None:
    saved: list[State] = []
    settings = SHORT.model_copy(update={"steps": 10, "warm_start": WARM.model_copy(update={"levels": 1, "all_levels": 0.5})})
    assert [settings.levels_at(share) for share in (-1, 0, 1 / 3, 2 / 3, 1)] == [1, 1, 1, 2, 2]
    found, last = fit(bind(folder), settings, Hooks(save=saved.append))
    tables = [HashField(SMALL, torch.Generator().manual_seed(0)).table, *(state["module.field.table"] for state in (*saved, last))]
    coarse, fine = slice(found.field.grid.sizes[0]), slice(found.field.grid.sizes[0], None)
    moved = [[not torch.equal(now[part], then[part]) for then, now in itertools.pairwise(tables)] for part in (coarse, fine)]
    assert moved == [[False] * 3 + [True] * 7, [False] * 8 + [True] * 2]


def test_every_number_of_grids_comes_in_turn_and_all_of_them_in_time() -> None:
    settings = CoarseSettings(start="views", field=FieldSettings(levels=8), warm_start=WarmStartSettings(levels=3, all_levels=0.5))
    found = [settings.levels_at(share / 100) for share in range(-1, 101)]
    assert sorted(set(found)) == [3, 4, 5, 6, 7, 8]
    assert found == sorted(found)
    assert found.index(8) == 51
    at_once = settings.model_copy(update={"warm_start": WarmStartSettings(levels=3, all_levels=0)})
    assert [at_once.levels_at(share) for share in (-1, 0, 1)] == [3, 8, 8]
    few = settings.model_copy(update={"field": FieldSettings(levels=2)})
    assert [few.levels_at(share) for share in (-1, 0, 0.3, 1)] == [2] * 4
    assert CoarseSettings().levels_at(0) == 8, "without a warm start all of them always"


def test_distillation_begins_with_whole_learning_rates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam, *given: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *given)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    fit(bind(folder), SHORT.model_copy(update={"learning_rate": 0.02, "network_learning_rate": 0.02, "final_rate": 0.1}))
    assert rates[::2] == rates[1::2], "of grid and network"
    assert rates[-12::2] == pytest.approx([0.04, 0.04, 0.04, 0.02, 0.011, 0.002])


@pytest.mark.parametrize("loss", ["sds", "cfd"])
def test_a_run_stopped_anywhere_equals_a_whole_one(folder: Path, loss: str) -> None:
    saved: list[State] = []
    _, whole = fit(bind(folder, loss=loss), SHORT, Hooks(save=saved.append))
    assert len(saved) == 8
    assert not torch.equal(saved[0]["module.views.latents"], saved[1]["module.views.latents"])
    assert torch.equal(saved[2]["module.views.latents"], whole["module.views.latents"]), "once drawn they stay"
    for state in saved[::2]:  # in the middle of the drawing, at its end, and in each phase that follows
        assert_same(fit(bind(folder, loss=loss), SHORT, Hooks(resume=state))[1], whole)
    load_coarse(whole, SHORT, torch.Generator(), CPU)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, "module.views.latents: is missing"),
        (lambda latents: latents[:2], r"module.views.latents: torch.float32 \[2, 3, 8, 8\], expected torch.float32 \[4, 3, 8, 8\]"),
        (lambda latents: latents * math.nan, "module.views.latents: holds NaN or infinity"),
    ],
)
def test_drawn_views_that_were_damaged_are_refused_by_name(folder: Path, change: Callable[[Tensor], Tensor] | None, reason: str) -> None:
    saved: list[State] = []
    fit(bind(folder), SHORT, Hooks(save=saved.append))
    name = "module.views.latents"
    state = {key: value for key, value in saved[3].items() if key != name}
    if change is not None:
        state[name] = change(saved[3][name]).clone()
    with pytest.raises(BadInput, match=reason):
        fit(bind(folder), SHORT, Hooks(resume=state))


def test_nan_while_views_are_drawn_costs_a_step_and_no_more(folder: Path) -> None:
    told: list[Mapping[str, float]] = []
    longer = SHORT.model_copy(update={"steps": 11})
    _, whole = fit(bind(folder), SHORT)
    hooks = Hooks(report=lambda stage, done, total, figures, scene: told.append(figures))
    _, spoilt = fit(SpoiltDrawing(bind(folder), range(1, 3)), longer, hooks)
    assert [figures["skipped"] for figures in told] == [0, 1, *[2] * 9]
    assert ["image" in figures for figures in told] == [False] * 5 + [True] * 3 + [False] * 3
    assert torch.equal(spoilt["module.views.latents"], whole["module.views.latents"])
    with pytest.raises(PoorOutcome, match="coarse: the last 10 steps up to 11 gave no finite gradient"):
        fit(SpoiltDrawing(bind(folder), range(1, 99)), SHORT.model_copy(update={"steps": 40}))


def test_a_model_that_sees_each_view_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^guidance '.*': is not a multi-view model; set coarse.start=sphere, or name one that is$"):
        fit(bind(write_folder(tmp_path)), SHORT)


def test_latents_of_a_vae_are_drawn_and_looked_at(tmp_path: Path) -> None:
    model = bind(write_folder(tmp_path, channels=4, vae=True, multiview=True))
    found, state = fit(model, SHORT)
    assert state["module.views.latents"].shape == (4, 4, 8, 8)
    assert all(parameter.isfinite().all() for parameter in found.field.parameters())


def test_drawing_begins_with_the_noised_background() -> None:
    """As far as the model reads a colour from noise, its mean, that is the background's, in every view."""
    warm = WARM.model_copy(update={"background": (0.1, 0.6, 0.3), "strength": 0.9})
    model = Certain(32)
    fit(model, SHORT.model_copy(update={"warm_start": warm, "size": 32, "steps": 6}))
    first, views = model.asked[0]
    assert torch.equal(views.background, torch.tensor([[0.1, 0.6, 0.3]]).expand(4, 3))
    last = round(0.9 * (len(model.schedule) - 1))
    signal, noise = model.schedule.signal[last], model.schedule.noise[last]
    plain = torch.tensor([0.1, 0.6, 0.3]) * 2 - 1
    torch.testing.assert_close(first.mean((2, 3)), signal * plain.expand(4, 3), rtol=0, atol=1e-5)
    assert float(first.std()) == pytest.approx(float(noise), abs=0.03)


def test_backgrounds_are_matched_and_reach_no_further_than_the_object() -> None:
    images = torch.tensor(BACKGROUNDS)[:, None, None].expand(-1, 32, 32, -1).clone()
    images[:, 8:24, 8:24] = torch.tensor([0.9, 0.1, 0.1])
    images[:, 10:12, 10:12] = torch.tensor(BACKGROUNDS)[:, None, None] + 0.1  # much like the background, and inside the object
    images[:, 14:18, 14:18] = torch.tensor(BACKGROUNDS)[:, None, None]  # seen through a hole
    images[:, 8:24, :4] = torch.tensor([0.9, 0.1, 0.1])  # up to the edge
    empty = torch.ones(32, 32, dtype=torch.bool)
    empty[8:24, 8:24] = empty[8:24, :4] = False
    empty[14:18, 14:18] = True
    noisy = images + 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    found = pictures_of(noisy, 32)
    assert (found.background - torch.tensor(BACKGROUNDS)).abs().max() < 0.02
    assert torch.equal(found.empty[..., 0], empty.expand(4, -1, -1))
    for size in (8, 16, 64):
        assert pictures_of(noisy, size).rgb.shape == (4, size, size, 3)
        assert (pictures_of(noisy, size).empty.float().mean() - empty.float().mean()).abs() < 0.1


def test_no_tensor_strays_from_the_device(folder: Path) -> None:
    """Nor where a run goes on from a checkpoint, which lies on the CPU."""
    saved: list[State] = []
    _, expected = fit(bind(folder), SHORT, Hooks(save=saved.append))
    edges = [HashField.__init__, volume.uniform, random_views, distill, turntable, snapshot, Fit.state, check_tensor, load_draws]
    with OneDevice([*edges, draw_noise, bind]) as one:
        model = bind(folder, device=one.device)
        found, last = fit(model, SHORT, device=one.device)
        resumed, _ = fit(model, SHORT, Hooks(resume=saved[3]), one.device)
    assert_on(PRETENDED, *found.field.parameters(), *resumed.field.parameters())
    torch.testing.assert_close(last["module.views.latents"], expected["module.views.latents"])
