"""The fine stage: a tetrahedral surface and a field's colour, refined by score distillation at a higher resolution.

Source: Magic3D (arXiv:2211.10440), DMTet (arXiv:2111.04276).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.config import FieldSettings, FineSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.contracts import PromptedModel, Rasterizer
from dreamfusion_mesh.errors import PoorOutcome
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.guidance.losses.loss import Loss
from dreamfusion_mesh.guidance.losses.make import make_loss
from dreamfusion_mesh.records import Mesh, Render, Views
from dreamfusion_mesh.render.raster.render import render_mesh
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.subdivide import loop_subdivide
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages.checkpoint import State, snapshot
from dreamfusion_mesh.stages.fit import Fit, Hooks, StepLoss, Stopwatch
from dreamfusion_mesh.stages.guide import guide
from dreamfusion_mesh.stages.losses import fine_loss
from dreamfusion_mesh.stages.restore import LOSS, REACH, check_tensors, layout_of_modules, load_mesh, load_modules
from dreamfusion_mesh.stages.scene import ColoredMesh, Scene
from dreamfusion_mesh.stages.start import halving_steps, resumed_surface
from dreamfusion_mesh.stages.uniform_adam import UniformAdam

_BETAS = (0.9, 0.99)


@dataclass(frozen=True, eq=False)
class Surface:
    """The refined surface in scene units, and the field that colours it."""

    mesh: Mesh
    field: HashField


def fit_surface(
    start: TetSurface,
    field: HashField,
    model: PromptedModel,
    rasterizer: Rasterizer,
    settings: FineSettings,
    views: ViewSettings,
    guidance: GuidanceSettings,
    draws: torch.Generator,
    hooks: Hooks | None = None,
) -> tuple[Surface, State]:
    """Refine the surface `start` and the colour of `field`, which is changed in place; gives both with the stage's last state.

    Where `hooks.resume` is given the surface is that of the checkpoint, whatever `start` is. The device is the start's.
    Raises BadInput where the checkpoint does not fit, PoorOutcome where the surface vanishes or where guidance stays NaN.
    """
    hooks = hooks or Hooks()
    surface = resumed_surface(hooks, start.sdf.device) or start
    distillation = make_loss(model, guidance, settings.size, draws)
    halvings = halving_steps(settings)

    def smooth(gradient: Tensor) -> Tensor:
        return surface.spread(gradient, settings.smoothing)

    fit = _new_fit(surface, field, distillation, settings, smooth, draws)

    def loss(step: int, progress: float, watch: Stopwatch) -> StepLoss:
        nonlocal surface
        for _ in range(halvings.count(step)):  # each step is begun once, so a resumed run halves where a whole one does
            surface = surface.refined()
            fit.replace("surface", surface)
        with watch.lap("render_ms"):
            mesh = _not_empty(surface.mesh())
            shown = loop_subdivide(mesh, settings.surface_subdivisions)
            render, seen = _render(shown, field, rasterizer, settings, views, draws)
        with watch.lap("guidance_ms"):
            distilled = guide(distillation, render, seen, progress, settings.t_min, settings.t_max, draws)
        terms = fine_loss(surface, mesh, distilled, settings, progress)
        figures = {"residual": distilled.residual, "faces": float(len(shown.faces)), **terms.figures()}
        scene = _scene(render, mesh, field)
        return StepLoss(terms.total(), distilled.finite, figures, scene=scene)

    fit.run(loss, hooks)
    fitted = _finished(surface, field, settings)
    return fitted, surface_state(fitted)


def _new_fit(
    surface: TetSurface,
    field: HashField,
    distillation: Loss,
    settings: FineSettings,
    smooth: Callable[[Tensor], Tensor],
    draws: torch.Generator,
) -> Fit:
    modules = {"surface": surface, "field": field, LOSS: distillation}
    optimizers = {
        "distance": UniformAdam(surface.sdf, settings.sdf_learning_rate, smooth, _BETAS),
        "deform": torch.optim.Adam([surface.deform], settings.deform_learning_rate, _BETAS, eps=1e-15),
        "color": torch.optim.Adam(field.parameters(), settings.color_learning_rate, _BETAS, eps=1e-15),
    }
    return Fit("fine", settings, modules, optimizers, draws, surface.sdf.device, distillation.optimizers())


@torch.no_grad()
def _finished(surface: TetSurface, field: HashField, settings: FineSettings) -> Surface:
    mesh = loop_subdivide(_not_empty(surface.mesh()), settings.surface_subdivisions)
    return Surface(mesh.detach(), field)


def surface_state(surface: Surface) -> State:
    """What the finished stage leaves behind."""
    state = {"mesh.vertices": surface.mesh.vertices.cpu(), "mesh.faces": surface.mesh.faces.cpu()}
    return state | {f"module.field.{key}": snapshot(value) for key, value in surface.field.state_dict().items()}


def load_surface(state: State, settings: FieldSettings, device: torch.device) -> Surface:
    """The fine stage's outcome from its last state. Raises ValueError where that is no state of these settings."""
    mesh = load_mesh(state, "mesh.", REACH)
    field = HashField(settings, torch.Generator()).to(device)
    coloured = {key: value for key, value in state.items() if key not in ("mesh.vertices", "mesh.faces")}
    check_tensors(coloured, layout_of_modules({"field": field}))
    load_modules({"field": field}, state)
    return Surface(mesh.to(device), field)


def _render(
    mesh: Mesh, field: HashField, rasterizer: Rasterizer, settings: FineSettings, views: ViewSettings, draws: torch.Generator
) -> tuple[Render, Views]:
    """What random views see of `mesh` in the field's colour."""
    seen = random_views(settings.views, views, settings.size, settings.size, draws, mesh.vertices.device)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    return render_mesh(rasterizer, mesh, normals, field.albedo, seen, shader(seen)), seen


def _scene(render: Render, mesh: Mesh, field: HashField) -> Scene:
    """With the mesh before it is subdivided, which has a quarter of the triangles for each time and looks alike."""
    images, still = render.rgb.detach(), mesh.detach()

    @torch.no_grad()
    def surface() -> ColoredMesh:
        return ColoredMesh(still, field.albedo(still.vertices))

    return Scene(lambda: images, surface)


def _not_empty(mesh: Mesh) -> Mesh:
    if len(mesh.faces) == 0:
        raise PoorOutcome("empty", "fine: the surface vanished while it was refined; lower fine.sdf_learning_rate or raise fine.sdf_sign")
    return mesh
