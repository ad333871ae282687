"""The fine stage: density becomes a tetrahedral surface, refined by score distillation at a higher resolution.

Source: Magic3D (arXiv:2211.10440), DMTet (arXiv:2111.04276).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.config import FineSettings, RunConfig
from dreamfusion_mesh.contracts import Rasterizer, ScoreModel
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.records import Mesh, Shading
from dreamfusion_mesh.render.cameras import rays, turntable
from dreamfusion_mesh.render.raster.render import render_mesh
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views, random_views
from dreamfusion_mesh.render.volume import render_volume
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.regularisers import laplacian_loss, normal_consistency_loss
from dreamfusion_mesh.shape.start.from_density import density_threshold, occupied_box, sdf_from_density
from dreamfusion_mesh.shape.subdivide import loop_subdivide
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages.coarse import Coarse
from dreamfusion_mesh.stages.fit import Fit, Hooks, State, StepLoss, Stopwatch, module_state

_LOOKS = 8  # views from which the threshold is judged
_LOOK_SIZE = 64
_LOOK_ELEVATION = 0.35


@dataclass(frozen=True, eq=False)
class Surface:
    """The refined surface in scene units, and the field that colours it."""

    mesh: Mesh
    field: HashField


def fit_surface(
    coarse: Coarse, model: ScoreModel, rasterizer: Rasterizer, config: RunConfig, draws: torch.Generator, hooks: Hooks | None = None
) -> tuple[Surface, State]:
    """Turn the coarse field into a surface and refine surface and colour with `config.fine`; gives it with its checkpoint's state.

    The coarse field's colour is changed in place.

    Raises RunFailed where the density holds nothing (naming its range), where the surface vanishes, or where guidance stays NaN.
    """
    hooks = hooks or Hooks()
    device = next(coarse.field.parameters()).device
    surface = to_surface(coarse, config) if hooks.resume is None else TetSurface.restore(module_state(hooks.resume, "surface"), device)
    settings = config.fine
    optimizer = torch.optim.Adam(
        [
            {"params": [surface.sdf], "lr": settings.sdf_learning_rate},
            {"params": [surface.deform], "lr": settings.deform_learning_rate},
            {"params": list(coarse.field.parameters()), "lr": settings.color_learning_rate},
        ],
        betas=(0.9, 0.99),
        eps=1e-15,
    )
    fit = Fit(
        stage="fine",
        steps=settings.steps,
        modules={"surface": surface, "field": coarse.field},
        optimizer=optimizer,
        draws=draws,
        gradient_clip=settings.gradient_clip,
        device=device,
    )

    halvings = _halvings(settings)

    def loss(step: int, progress: float, watch: Stopwatch) -> StepLoss:
        nonlocal surface
        for _ in range(halvings.count(step)):  # each step is begun once, so a resumed run halves where a whole one does
            surface = surface.refined()
            fit.replace("surface", surface)
        return _loss(surface, coarse.field, model, rasterizer, config, draws, step, progress, watch)

    fit.run(loss, hooks)
    with torch.no_grad():
        mesh = loop_subdivide(_not_empty(surface.mesh()), settings.surface_subdivisions)
    fitted = Surface(mesh.detach(), coarse.field)
    return fitted, surface_state(fitted)


def to_surface(coarse: Coarse, config: RunConfig) -> TetSurface:
    """The field's density as a tetrahedral surface: threshold, largest parts, box with a margin, signed distance.

    Its cells are those of the first step, twice `fine.tet_size`'s for each subdivision that is to come.
    Raises RunFailed where nothing lies above the threshold.
    """
    settings, field = config.fine, coarse.field
    device = next(field.parameters()).device
    threshold = _threshold(coarse, config) if settings.threshold == "auto" else settings.threshold
    with torch.no_grad():
        box = occupied_box(field.density, threshold, settings.tet_size, config.mesh.smallest_part, device)
        lattice = tet_lattice(box.low, box.high, settings.tet_size >> len(_halvings(settings)))
        sdf = sdf_from_density(field.density, threshold, box, lattice)
    return TetSurface(lattice, sdf)


def surface_state(surface: Surface) -> State:
    """What the finished stage leaves behind."""
    kept = {"mesh.vertices": surface.mesh.vertices.cpu(), "mesh.faces": surface.mesh.faces.cpu()}
    return kept | {f"module.field.{key}": value.detach().cpu() for key, value in surface.field.state_dict().items()}


def load_surface(state: State, config: RunConfig, device: torch.device) -> Surface:
    """The fine stage's outcome from its last checkpoint."""
    field = HashField(config.coarse.field, torch.Generator()).to(device)
    field.load_state_dict(module_state(state, "field"))
    return Surface(Mesh(state["mesh.vertices"], state["mesh.faces"]).to(device), field)


def _halvings(settings: FineSettings) -> list[int]:
    """The steps before which the cells are halved, so that every size of cell has the same share of the steps."""
    times = settings.volume_subdivisions if settings.steps else 0
    return [level * settings.steps // (times + 1) for level in range(1, times + 1)]


@torch.no_grad()
def _threshold(coarse: Coarse, config: RunConfig) -> float:
    """The density at which the surface's silhouettes match the field's opacity best, over eight views."""
    device = next(coarse.field.parameters()).device
    settings, draws = config.views, torch.Generator().manual_seed(config.seed)
    distance, fov = sum(settings.distance) / 2, math.radians(sum(settings.fov_y_degrees) / 2)
    cameras = turntable(_LOOKS, _LOOK_ELEVATION, distance, fov, _LOOK_SIZE, _LOOK_SIZE, device)
    views = plain_views(cameras, Shading.ALBEDO, (1.0, 1.0, 1.0), settings.ambient, settings.diffuse)
    render = render_volume(coarse.field, coarse.occupancy, views, shader(views), config.coarse.samples, draws, False)
    origins, directions = rays(cameras)
    steps = torch.linspace(distance - 1.8, distance + 1.8, 2 * config.coarse.samples, device=device)
    pairs = zip(origins.reshape(_LOOKS, -1, 3), directions.reshape(_LOOKS, -1, 3), strict=True)
    peaks = torch.stack([_peak(coarse.field, start, along, steps) for start, along in pairs])
    return density_threshold(peaks.reshape(-1), render.alpha.reshape(-1))


def _peak(field: HashField, origins: Tensor, directions: Tensor, steps: Tensor) -> Tensor:
    points = origins[:, None] + directions[:, None] * steps[None, :, None]
    return field.density(points.reshape(-1, 3)).reshape(len(origins), -1).amax(dim=1)


def _loss(
    surface: TetSurface,
    field: HashField,
    model: ScoreModel,
    rasterizer: Rasterizer,
    config: RunConfig,
    draws: torch.Generator,
    step: int,
    progress: float,
    watch: Stopwatch,
) -> StepLoss:
    settings, device = config.fine, surface.sdf.device
    with watch.lap("render_ms"):
        mesh = _not_empty(surface.mesh())
        shown = loop_subdivide(mesh, settings.surface_subdivisions)
        views = random_views(settings.views, config.views, settings.size, settings.size, draws, step, device)
        render = render_mesh(rasterizer, shown, vertex_normals(shown.vertices, shown.faces), field.albedo, views, shader(views))
    with watch.lap("guidance_ms"):
        distilled = distill(model, render.rgb, views, config.guidance, settings.t_min, settings.t_max, progress, draws)
    start, end = settings.sdf_sign
    total = distilled.loss + (start + (end - start) * progress) * surface.sign_loss()
    total = total + settings.normal_consistency * normal_consistency_loss(mesh.vertices, mesh.faces)
    total = total + settings.laplacian * laplacian_loss(mesh.vertices, mesh.faces)
    figures = {"loss": float(total.detach()), "residual": distilled.residual, "faces": float(len(shown.faces))}
    return StepLoss(total, distilled.finite, figures)


def _not_empty(mesh: Mesh) -> Mesh:
    if len(mesh.faces) == 0:
        raise RunFailed("fine: the surface vanished while it was refined; lower fine.sdf_learning_rate or raise fine.sdf_sign")
    return mesh
