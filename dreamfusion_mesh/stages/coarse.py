"""The coarse stage: a field fitted to a prompt by score distillation over random views (DreamFusion, arXiv:2209.14988).

Where `coarse.start` is views, it is first fitted to views that the model draws (warm_start.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dreamfusion_mesh.config import CoarseSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.contracts import FieldQuery, PromptedModel
from dreamfusion_mesh.guidance.losses.loss import Loss
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.records import FieldSample, Render, Views
from dreamfusion_mesh.render.shading.lambert import needs_normals, shader
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.start.rough import rough_surface
from dreamfusion_mesh.stages.checkpoint import State
from dreamfusion_mesh.stages.fit import Fit, Hooks, StepLoss, Stopwatch, rate_share
from dreamfusion_mesh.stages.guide import guide
from dreamfusion_mesh.stages.losses import coarse_loss, picture_loss
from dreamfusion_mesh.stages.restore import LOSS, OF_FIT, check_tensors, layout_of_modules, load_draws, load_modules, step_counts
from dreamfusion_mesh.stages.scene import ColoredMesh, Scene
from dreamfusion_mesh.stages.warm_start import VIEWS, WarmStart

_ROUGH_CELLS = 32  # along the longest side of what is occupied, where the field is looked at as a surface


@dataclass(frozen=True, eq=False)
class Coarse:
    """A fitted field, and where it is occupied."""

    field: HashField
    occupancy: OccupancyGrid


def fit_field(
    model: PromptedModel,
    settings: CoarseSettings,
    views: ViewSettings,
    guidance: GuidanceSettings,
    draws: torch.Generator,
    device: torch.device,
    hooks: Hooks | None = None,
) -> tuple[Coarse, State]:
    """Fit a new field to `model`; gives it with the state that its checkpoint holds.

    Raises PoorOutcome after ten steps in a row without a finite gradient.
    """
    hooks = hooks or Hooks()
    coarse = new_coarse(settings, draws, device)
    distillation = make_loss(model, guidance, settings.size, draws)
    modules: dict[str, nn.Module] = {"field": coarse.field, "occupancy": coarse.occupancy, LOSS: distillation}
    warm = WarmStart(model, settings, views, guidance, device) if settings.start == "views" else None
    if warm is not None:
        modules[VIEWS] = warm.drawn
    fit = Fit("coarse", settings, modules, _optimizers(coarse.field, settings), draws, device, distillation.optimizers())
    steps = _Steps(coarse, settings, views, guidance, distillation, warm, draws)
    fit.run(lambda step, progress, watch: steps.take(step, fit.skipped, progress, watch), hooks)
    return coarse, fit.state()


@dataclass(frozen=True, eq=False)
class _Steps:
    """What each step of the stage minimises: nothing while views are drawn, then the difference to these, then the distillation's loss."""

    coarse: Coarse
    settings: CoarseSettings
    views: ViewSettings
    guidance: GuidanceSettings
    distillation: Loss
    warm: WarmStart | None
    draws: torch.Generator

    def take(self, step: int, skipped: int, progress: float, watch: Stopwatch) -> StepLoss:
        """The loss of `step`, before which `skipped` steps of the stage were; a step of the warm start that was skipped is taken again."""
        good, drawing = step - skipped, self.settings.warm_start.draw_steps
        if self.warm is None or good >= self.settings.warm_steps:
            return self._distil(step, progress, watch)
        return self._draw(self.warm, good, watch) if good < drawing else self._copy(self.warm, step - drawing, progress, watch)

    def _draw(self, warm: WarmStart, index: int, watch: Stopwatch) -> StepLoss:
        with watch.lap("guidance_ms"):
            finite = warm.draw(index, self.draws)
        return StepLoss(warm.drawn.latents.new_zeros(()), finite, {}, scene=Scene(warm.drawn_images, self._surface))

    def _copy(self, warm: WarmStart, index: int, progress: float, watch: Stopwatch) -> StepLoss:
        with watch.lap("render_ms"):
            self._update_occupancy(index)
            seen, pictures = warm.look(index)
            render = self._render(seen, self.settings.levels_at(-1))
        terms = picture_loss(render, pictures, self.settings, progress)
        figures = {"alpha": float(render.alpha.detach().mean()), **terms.figures()}
        return StepLoss(terms.total(), True, figures, self.settings.warm_start.rate, self._scene(render))

    def _distil(self, step: int, progress: float, watch: Stopwatch) -> StepLoss:
        settings, before = self.settings, self.settings.warm_steps
        t_max = self.guidance.t_max if self.warm is None else settings.warm_start.t_max
        with watch.lap("render_ms"):
            device = self.coarse.occupancy.values.device
            index = step if self.warm is None else step - settings.warm_start.draw_steps  # of the steps that see the field
            self._update_occupancy(index)
            flat = index < self.views.albedo_steps
            seen = random_views(settings.views, self.views, settings.size, settings.size, self.draws, device, flat)
            share = (step - before) / max(1, settings.steps - before - 1)
            render = self._render(seen, settings.levels_at(share))
        with watch.lap("guidance_ms"):
            distilled = guide(self.distillation, render, seen, share, self.guidance.t_min, t_max, self.draws)
        terms = coarse_loss(render, distilled, settings, progress)
        figures = {"residual": distilled.residual, "alpha": float(render.alpha.detach().mean()), **terms.figures()}
        rate = rate_share(settings.rate_schedule, settings.final_rate, share)  # whole at first, whatever came before
        return StepLoss(terms.total(), distilled.finite, figures, rate, self._scene(render))

    def _update_occupancy(self, index: int) -> None:
        if index % self.settings.occupancy_interval == 0:
            self.coarse.occupancy.update(self.coarse.field.density, self.draws, index)

    def _render(self, seen: Views, levels: int) -> Render:
        field = _coarsest(self.coarse.field, levels)
        return render_volume(field, self.coarse.occupancy, seen, shader(seen), self.settings.samples, self.draws, needs_normals(seen))

    def _scene(self, render: Render) -> Scene:
        images = render.rgb.detach()
        return Scene(lambda: images, self._surface)

    @torch.no_grad()
    def _surface(self) -> ColoredMesh:
        mesh = rough_surface(self.coarse.field.density, *self.coarse.occupancy.bounds(), _ROUGH_CELLS)
        return ColoredMesh(mesh, self.coarse.field.albedo(mesh.vertices))


def new_coarse(settings: CoarseSettings, draws: torch.Generator, device: torch.device) -> Coarse:
    """The field before its first step: a blob in the middle, with every cell taken for occupied."""
    field = HashField(settings.field, draws).to(device)
    return Coarse(field, OccupancyGrid(settings.occupancy_size, 1.0, device))


def load_coarse(state: State, settings: CoarseSettings, draws: torch.Generator, device: torch.device) -> Coarse:
    """The coarse stage's outcome from its last state; `draws` goes on from where the stage left it.

    Raises ValueError where that is no state of these settings, or one of a stage that is not finished.
    """
    coarse = new_coarse(settings, torch.Generator(), device)
    modules = {"field": coarse.field, "occupancy": coarse.occupancy}
    used = {key: value for key, value in state.items() if not key.startswith(("optimizer.", f"module.{LOSS}.", f"module.{VIEWS}."))}
    check_tensors(used, {**OF_FIT, **layout_of_modules(modules)})
    done, _ = step_counts(state)
    if done != settings.steps:
        raise ValueError(f"{done} steps are done, of {settings.steps}")
    load_draws(draws, state)
    load_modules(modules, state)
    return coarse


def _coarsest(field: HashField, levels: int) -> FieldQuery:
    """The field, whose gradient reaches the coarsest `levels` of its grids and the network."""
    if levels >= field.grid.levels:
        return field
    rows = sum(field.grid.sizes[:levels])
    table = torch.cat((field.table[:rows], field.table[rows:].detach()))

    def query(points: Tensor, normals: bool) -> FieldSample:
        sample: FieldSample = functional_call(field, {"table": table}, (points, normals))
        return sample

    return query


def _optimizers(field: HashField, settings: CoarseSettings) -> dict[str, torch.optim.Optimizer]:
    network = [value for name, value in field.named_parameters() if name != "table"]
    rates = {"grid": ([field.table], settings.learning_rate), "network": (network, settings.network_learning_rate)}
    return {name: torch.optim.Adam(each, lr=rate, betas=(0.9, 0.99), eps=1e-15) for name, (each, rate) in rates.items()}
