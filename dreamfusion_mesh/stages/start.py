"""What the fine stage starts from: here a coarse field's density, its threshold judged by silhouettes. Any other TetSurface will do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dreamfusion_mesh.config import FineSettings, ViewSettings
from dreamfusion_mesh.contracts import Field
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import rays, turntable
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume
from dreamfusion_mesh.shape.start.from_density import density_threshold, start_from_density
from dreamfusion_mesh.shape.start.unseen import fill_unseen
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages.checkpoint import State, module_state
from dreamfusion_mesh.stages.coarse import Coarse
from dreamfusion_mesh.stages.fit import Hooks
from dreamfusion_mesh.stages.restore import REACH, Layout, check_tensors, fits

_VIEWS = 8  # silhouettes that the threshold is judged by
_SIZE = 64  # pixels a side
_ELEVATION = 0.35
_RIM = 10.0  # degrees above the lowest views: too few views see from there to tell what is hollow
_BOX_RADIUS = 1.8  # of a sphere that holds the scene's box


def start_from_field(
    coarse: Coarse, samples: int, settings: FineSettings, views: ViewSettings, smallest_part: float, draws: torch.Generator
) -> TetSurface:
    """The surface of a coarse field's density at `settings.threshold`, with the cells of the fine stage's first step.

    samples        along a ray where silhouettes judge the threshold, as the coarse stage takes
    views          whose distances judge the threshold, and whose lowest tell what is never seen and so solid
    smallest_part  parts under this share of the largest one's volume are dropped
    draws          one number a ray, where the threshold is "auto"
    Raises PoorOutcome, naming the density's range, where nothing lies above the threshold.
    """
    automatic = settings.threshold == "auto"
    threshold = silhouette_threshold(coarse.field, coarse.occupancy, samples, views, draws) if automatic else float(settings.threshold)
    cells = settings.tet_size >> len(halving_steps(settings))
    device = coarse.occupancy.values.device
    surface = start_from_density(coarse.field.density, threshold, cells, settings.tet_size, smallest_part, device)
    return fill_unseen(surface, min(0.0, views.elevation_degrees[0] + _RIM))


def resumed_surface(hooks: Hooks, device: torch.device) -> TetSurface | None:
    """The surface that a fine stage's checkpoint holds, None without a checkpoint. Raises BadInput where it holds none."""
    if hooks.resume is None:
        return None
    with fits(hooks.source):
        return _surface(module_state(hooks.resume, "surface"), device)


def _surface(state: State, device: torch.device) -> TetSurface:
    """The surface of a `state_dict`. Raises ValueError where it is none."""
    count = len(state["sdf"]) if "sdf" in state and state["sdf"].dim() else None
    shapes: dict[str, tuple[int | None, ...]] = {"sdf": (count,), "lookup_sdf": (count,), "deform": (count, 3), "origin": (3,)}
    floats = {name: Layout(shape, torch.float32) for name, shape in shapes.items()}
    check_tensors(state, {**floats, "cell": Layout((), torch.float64), "counts": Layout((3,), torch.int64)})
    furthest = max(float(state["origin"].abs().max()), float(state["cell"]) * int(state["counts"].max()))
    if furthest > 2 * REACH:
        raise ValueError(f"origin, cell, counts: a lattice that reaches to {furthest:.4g}, expected at most {2 * REACH}")
    return TetSurface.restore(state, device)


def halving_steps(settings: FineSettings) -> list[int]:
    """The steps before which the cells are halved, so that every size of cell has the same share of the steps."""
    times = settings.volume_subdivisions if settings.steps else 0
    return [level * settings.steps // (times + 1) for level in range(1, times + 1)]


@torch.no_grad()
def silhouette_threshold(field: Field, occupancy: OccupancyGrid, samples: int, views: ViewSettings, draws: torch.Generator) -> float:
    """The density at which the surface's silhouettes match the field's opacity best, over eight views."""
    device = occupancy.values.device
    distance, fov = sum(views.distance) / 2, math.radians(sum(views.fov_y_degrees) / 2)
    cameras = turntable(_VIEWS, _ELEVATION, distance, fov, _SIZE, _SIZE, device)
    plain = plain_views(cameras, Shading.ALBEDO, (1.0, 1.0, 1.0), views.ambient, views.diffuse)
    render = render_volume(field, occupancy, plain, shader(plain), samples, draws, False)
    origins, directions = rays(cameras)
    depths = torch.linspace(distance - _BOX_RADIUS, distance + _BOX_RADIUS, 2 * samples, device=device)
    pairs = zip(origins.reshape(_VIEWS, -1, 3), directions.reshape(_VIEWS, -1, 3), strict=True)
    peaks = torch.stack([_peak_density(field, start, along, depths) for start, along in pairs])
    return density_threshold(peaks.reshape(-1), render.alpha.reshape(-1))


def _peak_density(field: Field, origins: Tensor, directions: Tensor, depths: Tensor) -> Tensor:
    """[R] the largest density along each of the rays [R, 3]."""
    points = origins[:, None] + directions[:, None] * depths[None, :, None]
    return field.density(points.reshape(-1, 3)).reshape(len(origins), -1).amax(dim=1)
