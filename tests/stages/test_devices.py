"""Both stages work on the device that they are given: every tensor elsewhere is a fault, but for seeded draws and checkpoints."""

from __future__ import annotations

import pytest
import torch
from one_device import PRETENDED, OneDevice, assert_on
from stub_score import StubScore

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, FineSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.guidance.schedule import draw_noise, draw_timesteps
from dreamfusion_mesh.render import views as views_module
from dreamfusion_mesh.render import volume
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.shape import field as fields
from dreamfusion_mesh.shape.start.from_density import occupied_box
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages import checkpoint
from dreamfusion_mesh.stages.coarse import Coarse, fit_field
from dreamfusion_mesh.stages.fine import Surface, fit_surface, load_surface, surface_state
from dreamfusion_mesh.stages.fit import Fit, Hooks
from dreamfusion_mesh.stages.restore import check_tensor, load_mesh
from dreamfusion_mesh.stages.start import start_from_field

# Seeded draws and turntables come from the CPU, the same for every device; states are copies there; scipy labels the parts.
DRAWS = [
    turntable,
    fields.HashField.__init__,
    volume.uniform,
    volume.random_cells,
    views_module.random_views,
    draw_timesteps,
    draw_noise,
]
STATES = [checkpoint.snapshot, Fit.state, surface_state, check_tensor, load_mesh]
SMALL = FieldSettings(levels=2, table_size_log2=8, finest=8, hidden=4)
VIEWS = ViewSettings(lambertian=1.0, textureless=0.0)


def run_both(device: torch.device, normals: str, saved: list[checkpoint.State]) -> tuple[Coarse, TetSurface, Surface, checkpoint.State]:
    draws, guidance, model = torch.Generator().manual_seed(0), GuidanceSettings(), StubScore(residual=0.5, device=device)
    field = SMALL.model_copy(update={"normals": normals})
    settings = CoarseSettings(steps=2, size=8, views=1, samples=16, occupancy_size=8, field=field, checkpoint_seconds=0)
    fine = FineSettings(steps=2, size=16, views=1, tet_size=16, volume_subdivisions=1, surface_subdivisions=1, checkpoint_seconds=0)
    coarse, _ = fit_field(model, settings, VIEWS, guidance, draws, device, Hooks(save=saved.append))
    start = start_from_field(coarse, settings.samples, fine, VIEWS, 0.02, draws)
    rasterizer, hooks = resolve_rasterizer("auto", torch.device("cpu")), Hooks(save=saved.append)  # a device without a driver is refused
    _, state = fit_surface(start, coarse.field, model, rasterizer, fine, VIEWS, guidance, draws, hooks)
    return coarse, start, load_surface(state, field, device), state


@pytest.mark.parametrize("normals", ["analytic", "finite_differences"])
def test_both_stages_keep_to_their_device(normals: str) -> None:
    saved: list[checkpoint.State] = []
    with OneDevice(edges=[*DRAWS, *STATES, occupied_box, StubScore.__init__]) as one:
        coarse, start, surface, state = run_both(one.device, normals, saved)
    assert_on(
        PRETENDED, *coarse.field.parameters(), *coarse.occupancy.buffers(), *start.buffers(), surface.mesh.vertices, surface.mesh.faces
    )
    assert len(saved) == 2
    assert_on(torch.device("cpu"), *state.values(), *(value for each in saved for value in each.values()))
    _, _, expected, _ = run_both(torch.device("cpu"), normals, [])
    ours, theirs = (signed_volume(each.mesh.vertices.cpu(), each.mesh.faces.cpu()).item() for each in (surface, expected))
    assert ours == pytest.approx(theirs, rel=1e-3)
