"""The coarse stage: a field fitted to a prompt by score distillation over random views (DreamFusion, arXiv:2209.14988).

Where `coarse.start` is views, it is first fitted to views that the model draws (warm_start.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dreamfusion_mesh.config import CoarseSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.contracts import PromptedModel
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.records import Render, Views
from dreamfusion_mesh.render.shading.lambert import needs_normals, shader
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.stages.checkpoint import State
from dreamfusion_mesh.stages.fit import Fit, Hooks, StepLoss, Stopwatch
from dreamfusion_mesh.stages.guide import guide
from dreamfusion_mesh.stages.losses import coarse_loss, picture_loss
from dreamfusion_mesh.stages.restore import LOSS, OF_FIT, check_tensors, layout_of_modules, load_draws, load_modules, step_counts
from dreamfusion_mesh.stages.warm_start import VIEWS, WarmStart


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
    modules = {"field": coarse.field, "occupancy": coarse.occupancy, LOSS: distillation}
    warm = WarmStart(model, settings, views, guidance, device) if settings.start == "views" else None
    if warm is not None:
        modules[VIEWS] = warm.drawn
    fit = Fit("coarse", settings, modules, _optimizers(coarse.field, settings), draws, device, distillation.optimizers())

    drawing = settings.warm_start.draw_steps if warm is not None else 0
    t_max = settings.warm_start.t_max if warm is not None else guidance.t_max

    def loss(step: int, progress: float, watch: Stopwatch) -> StepLoss:
        good = step - fit.skipped  # a step that was skipped is taken again
        if warm is not None and good < drawing:
            return _draw(warm, good, draws, watch)
        if warm is not None and good < settings.warm_steps:
            return _copy_pictures(coarse, warm, settings, draws, step - drawing, progress, watch)
        with watch.lap("render_ms"):
            _update_occupancy(coarse, settings, draws, step - drawing)
            seen = random_views(settings.views, views, settings.size, settings.size, draws, step - drawing, device)
            render = _render(coarse, settings, seen, draws)
        with watch.lap("guidance_ms"):
            distilled = guide(distillation, render, seen, _after(settings, step), guidance.t_min, t_max, draws)
        terms = coarse_loss(render, distilled, settings, progress)
        figures = {"residual": distilled.residual, "alpha": float(render.alpha.detach().mean()), **terms.figures()}
        return StepLoss(terms.total(), distilled.finite, figures)

    fit.run(loss, hooks)
    return coarse, fit.state()


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


def _optimizers(field: HashField, settings: CoarseSettings) -> dict[str, torch.optim.Optimizer]:
    network = [value for name, value in field.named_parameters() if name != "table"]
    rates = {"grid": ([field.table], settings.learning_rate), "network": (network, settings.network_learning_rate)}
    return {name: torch.optim.Adam(each, lr=rate, betas=(0.9, 0.99), eps=1e-15) for name, (each, rate) in rates.items()}


def _draw(warm: WarmStart, index: int, draws: torch.Generator, watch: Stopwatch) -> StepLoss:
    """A step of the sampler, which has nothing for the field's optimisers."""
    with watch.lap("guidance_ms"):
        finite = warm.draw(index, draws)
    return StepLoss(torch.zeros(()), finite, {})


def _copy_pictures(
    coarse: Coarse, warm: WarmStart, settings: CoarseSettings, draws: torch.Generator, step: int, progress: float, watch: Stopwatch
) -> StepLoss:
    """A step towards what was drawn."""
    with watch.lap("render_ms"):
        _update_occupancy(coarse, settings, draws, step)
        seen, pictures = warm.look(step)
        render = _render(coarse, settings, seen, draws)
    terms = picture_loss(render, pictures, settings, progress)
    return StepLoss(terms.total(), True, {"alpha": float(render.alpha.detach().mean()), **terms.figures()})


def _after(settings: CoarseSettings, step: int) -> float:
    """How much of score distillation is done before `step`, in [0, 1]."""
    return (step - settings.warm_steps) / max(1, settings.steps - settings.warm_steps - 1)


def _update_occupancy(coarse: Coarse, settings: CoarseSettings, draws: torch.Generator, step: int) -> None:
    if step % settings.occupancy_interval == 0:
        coarse.occupancy.update(coarse.field.density, draws, step)


def _render(coarse: Coarse, settings: CoarseSettings, seen: Views, draws: torch.Generator) -> Render:
    lit = needs_normals(seen)
    return render_volume(coarse.field, coarse.occupancy, seen, shader(seen), settings.samples, draws, lit)
