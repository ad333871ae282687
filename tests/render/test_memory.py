"""A long run needs no more memory than a short one."""

import ctypes
import gc
from collections.abc import Callable

import psutil
import pytest
import torch

from dreamfusion_mesh.config import FieldSettings, ViewSettings
from dreamfusion_mesh.render.cameras import clip_from_world
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import random_views
from dreamfusion_mesh.render.volume import OccupancyGrid, render_volume
from dreamfusion_mesh.shape.field import HashField


def volume_step() -> Callable[[int], None]:
    draws = torch.Generator().manual_seed(0)
    field = HashField(FieldSettings(levels=4, table_size_log2=10, finest=16, hidden=8), draws)
    occupancy, optimizer = OccupancyGrid(8), torch.optim.Adam(field.parameters())

    def step(number: int) -> None:
        if number % 16 == 0:
            occupancy.update(field.density, draws, number)
        views = random_views(1, ViewSettings(), 6, 6, draws, torch.device("cpu"))
        render = render_volume(field, occupancy, views, shader(views), 16, draws, True)
        optimizer.zero_grad()
        (render.rgb.mean() + render.orientation.mean()).backward()
        optimizer.step()

    return step


def raster_step() -> Callable[[int], None]:
    """Faces change each step, as where a surface is extracted anew, so that nothing that is kept for one mesh may pile up."""
    draws, rasterizer = torch.Generator().manual_seed(0), resolve_rasterizer("warp", "cpu")
    vertices = torch.randn(30, 3, generator=draws).requires_grad_()
    optimizer = torch.optim.Adam([vertices])

    def step(number: int) -> None:
        views = random_views(1, ViewSettings(), 16, 16, draws, torch.device("cpu"))
        faces = torch.randint(0, 30, (20, 3), generator=draws)
        points = torch.cat((vertices, torch.ones(30, 1)), dim=1)
        clip = points @ clip_from_world(views.cameras, 0.1, 10.0).transpose(1, 2)
        fragments = rasterizer.rasterize(clip, faces, (16, 16))
        image = rasterizer.antialias(rasterizer.interpolate(points, fragments, faces), fragments, clip, faces)
        optimizer.zero_grad()
        image.square().mean().backward()
        optimizer.step()

    return step


def resident() -> int:
    """Bytes held, without those that the C library keeps for later (where it can give them back)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize(("settled", "steps"), [(60, 200), pytest.param(200, 1000, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("make", [volume_step, raster_step])
def test_memory_does_not_grow_with_the_steps(make: Callable[[], Callable[[int], None]], settled: int, steps: int) -> None:
    """After `settled` steps caches and the allocator hold what they keep."""
    step = make()
    found = []
    for number in range(steps):
        step(number)
        if number + 1 in (settled, steps):
            gc.collect()
            found.append((len(gc.get_objects()), resident()))
    (objects, held), (later_objects, later_held) = found
    assert later_objects - objects < (steps - settled) / 4  # not one object in four steps
    assert later_held - held < (steps - settled) * 4096  # bytes; not a page a step
