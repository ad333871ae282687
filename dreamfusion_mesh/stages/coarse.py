"""The coarse stage: a field fitted to a prompt by score distillation over random views (DreamFusion, arXiv:2209.14988)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.render.shading.lambert import needs_normals, shader
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.stages.fit import Fit, Hooks, State, StepLoss, Stopwatch, module_state

_SMALLEST_OPACITY = 0.01  # DreamFusion's opacity term: sqrt(alpha^2 + .01)


@dataclass(frozen=True, eq=False)
class Coarse:
    """A fitted field, and where it is occupied."""

    field: HashField
    occupancy: OccupancyGrid


def fit_field(
    model: ScoreModel, config: RunConfig, draws: torch.Generator, device: torch.device, hooks: Hooks | None = None
) -> tuple[Coarse, State]:
    """Fit a new field to `model` with `config.coarse` and `config.views`; gives it with the state its checkpoint holds.

    Raises RunFailed after ten steps in a row without a finite gradient.
    """
    hooks = hooks or Hooks()
    coarse = new_coarse(config, draws, device)
    network = [value for name, value in coarse.field.named_parameters() if name != "table"]
    groups = [
        {"params": [coarse.field.table], "lr": config.coarse.learning_rate},
        {"params": network, "lr": config.coarse.network_learning_rate},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15)
    fit = Fit(
        stage="coarse",
        steps=config.coarse.steps,
        modules={"field": coarse.field, "occupancy": coarse.occupancy},
        optimizer=optimizer,
        draws=draws,
        gradient_clip=config.coarse.gradient_clip,
        device=device,
    )

    def loss(step: int, progress: float, watch: Stopwatch) -> StepLoss:
        return _loss(coarse, model, config, draws, device, step, progress, watch)

    fit.run(loss, hooks)
    return coarse, fit.state()


def new_coarse(config: RunConfig, draws: torch.Generator, device: torch.device) -> Coarse:
    """The field before its first step: a blob in the middle, everywhere taken for occupied."""
    field = HashField(config.coarse.field, draws).to(device)
    return Coarse(field, OccupancyGrid(config.coarse.occupancy_size, 1.0, device))


def load_coarse(state: State, config: RunConfig, device: torch.device) -> Coarse:
    """The coarse stage's outcome from its last checkpoint."""
    coarse = new_coarse(config, torch.Generator(), device)
    coarse.field.load_state_dict(module_state(state, "field"))
    coarse.occupancy.load_state_dict(module_state(state, "occupancy"))
    return coarse


def _loss(
    coarse: Coarse,
    model: ScoreModel,
    config: RunConfig,
    draws: torch.Generator,
    device: torch.device,
    step: int,
    progress: float,
    watch: Stopwatch,
) -> StepLoss:
    settings, guidance = config.coarse, config.guidance
    with watch.lap("render_ms"):
        if step % settings.occupancy_interval == 0:
            coarse.occupancy.update(coarse.field.density, draws, step)
        views = random_views(settings.views, config.views, settings.size, settings.size, draws, step, device)
        lit = needs_normals(views)
        render = render_volume(coarse.field, coarse.occupancy, views, shader(views), settings.samples, draws, lit)
    with watch.lap("guidance_ms"):
        distilled = distill(model, render.rgb, views, guidance, guidance.t_min, guidance.t_max, progress, draws)
    opacity = (render.alpha.square() + _SMALLEST_OPACITY).sqrt().mean()
    total = distilled.loss + settings.opacity * opacity
    if lit:
        total = total + settings.orientation * render.orientation.mean()
    if settings.entropy > 0:
        solid = render.alpha.clamp(1e-4, 1 - 1e-4)
        total = total - settings.entropy * progress * (solid * solid.log() + (1 - solid) * (1 - solid).log()).mean()
    figures = {"loss": float(total.detach()), "residual": distilled.residual, "alpha": float(render.alpha.detach().mean())}
    return StepLoss(total, distilled.finite, figures)
