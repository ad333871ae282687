"""Both stages fit on each device to what they fit on the CPU, and go on there from checkpoints, which lie on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from one_device import PRETENDED, OneDevice, assert_on
from stub_score import StubScore
from torch import Tensor

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, FineSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.guidance.losses.sds import distill
from dreamfusion_mesh.render import volume
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.start.from_density import occupied_box
from dreamfusion_mesh.stages import start
from dreamfusion_mesh.stages.checkpoint import State, snapshot
from dreamfusion_mesh.stages.coarse import Coarse, fit_field, load_coarse
from dreamfusion_mesh.stages.fine import fit_surface, load_surface, surface_state
from dreamfusion_mesh.stages.fit import Fit, Hooks
from dreamfusion_mesh.stages.restore import check_tensor, load_draws, load_mesh
from dreamfusion_mesh.stages.start import resumed_surface, start_from_field

CPU = torch.device("cpu")
SMALL = FieldSettings(levels=2, table_size_log2=8, finest=8, hidden=8)
LIT = ViewSettings(lambertian=1.0, textureless=0.0, albedo_steps=0)
GRIDS = {"samples": 16, "occupancy_size": 8, "occupancy_interval": 1, "field": SMALL}
COARSE = CoarseSettings(steps=2, size=8, views=1, checkpoint_seconds=0, **GRIDS)
FINE = FineSettings(steps=2, size=16, views=1, tet_size=16, volume_subdivisions=1, surface_subdivisions=1, checkpoint_seconds=0)
DRAWS = [HashField.__init__, volume.uniform, random_views, distill, turntable]
STATES = [snapshot, Fit.state, surface_state, check_tensor, load_mesh, load_draws, start._surface]


def both_stages(device: torch.device, saved: list[State], halfway: Sequence[State] = ()) -> tuple[Coarse, State]:
    """Two steps of each stage, with cells that halve and a surface that is subdivided; from the checkpoints `halfway` on, if given."""
    model, draws, guidance = StubScore(residual=0.5, device=device), torch.Generator().manual_seed(0), GuidanceSettings()
    first, second = (Hooks(save=saved.append, resume=state) for state in (halfway or (None, None)))
    _, state = fit_field(model, COARSE, LIT, guidance, draws, device, first)
    coarse = load_coarse(state, COARSE, draws, device)
    start = resumed_surface(second, device)
    if start is None:
        start = start_from_field(coarse, COARSE.samples, FINE, LIT, 0.02, draws)
    rasterizer = resolve_rasterizer("warp", CPU if device == PRETENDED else device)  # the pretended one has no driver
    _, last = fit_surface(start, coarse.field, model, rasterizer, FINE, LIT, guidance, draws, second)
    return coarse, last


def outcome(device: torch.device, halfway: Sequence[State] = ()) -> tuple[Sequence[Tensor], list[State]]:
    """What both stages leave on the device: the field's parameters, the occupancy, the surface and its colours; and the checkpoints."""
    saved: list[State] = []
    coarse, last = both_stages(device, saved, halfway)
    surface = load_surface(last, SMALL, device)
    parameters = [*surface.field.parameters(), *coarse.field.parameters(), coarse.occupancy.values]
    return [*parameters, signed_volume(surface.mesh.vertices, surface.mesh.faces)], saved


@cache
def both_on_the_cpu() -> tuple[Sequence[Tensor], list[State]]:
    return outcome(CPU)


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor], share: float) -> None:
    """In the mean of absolute values, of each tensor; a gradient that is rounding alone may move its parameter either way."""
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.cpu() - theirs.cpu()).abs().sum() <= share * theirs.abs().sum()


def test_each_device_fits_both_stages_and_resumes_them(device: torch.device) -> None:
    whole, saved = outcome(device)
    assert_close(whole, both_on_the_cpu()[0], 0 if device == CPU else 0.05)
    resumed, rest = outcome(device, saved)
    assert (len(saved), len(rest)) == (2, 0)
    assert {value.device.type for value in (*whole, *resumed)} == {device.type}
    assert_close(resumed, whole, 0 if device == CPU else 0.05)


def test_no_tensor_strays_when_stages_resume() -> None:
    """From checkpoints of the CPU, as a run that is moved to a card goes on."""
    expected, saved = both_on_the_cpu()
    with OneDevice([*DRAWS, *STATES, occupied_box, StubScore.__init__]) as one:
        found, rest = outcome(one.device, saved)
    assert not rest
    assert_on(PRETENDED, *found)
    assert_close(found, expected, 1e-2)
