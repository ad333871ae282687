"""How one step looks at the object: cameras, lights, shading and backgrounds, drawn or fixed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from dreamfusion_mesh.config import Span, ViewSettings
from dreamfusion_mesh.records import Cameras, Shading, Views
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.lights import lights_above


def random_views(
    count: int, settings: ViewSettings, height: int, width: int, draws: torch.Generator, device: torch.device | str, flat: bool = False
) -> Views:
    """`count` views of one optimisation step, drawn on the CPU from `draws` and moved to `device`.

    flat  colour alone is seen, without light; as many numbers are drawn

    Azimuths share one random offset and stand evenly around the object, so two views face each other. Source of the shares and of the
    jitter's shape: DreamFusion (arXiv:2209.14988, section 3.2) as ranged by `settings`.
    """
    azimuth = math.pi * (2 * _uniform(1, draws) - 1) + torch.arange(count) * (2 * math.pi / count)
    azimuth = torch.remainder(azimuth + math.pi, 2 * math.pi) - math.pi
    each = partial(_shared if settings.one_orbit else _uniform, count, draws)
    overhead = each() < settings.overhead
    wide, high = (_within(span, each()) for span in (settings.elevation_degrees, settings.overhead_elevation_degrees))
    cameras = orbit(
        azimuth,
        torch.deg2rad(torch.where(overhead, high, wide)),
        _within(settings.distance, each()),
        torch.deg2rad(_within(settings.fov_y_degrees, each())),
        height,
        width,
        position_offset=settings.position_jitter * (2 * torch.rand(count, 3, generator=draws) - 1),
        target=settings.target_jitter * torch.randn(count, 3, generator=draws),
    )
    stray = settings.light_spread * torch.randn(count, 3, generator=draws)
    lights = lights_above(cameras, settings.ambient, settings.diffuse, stray)
    views = Views(cameras, lights, _draw_shading(count, settings, draws, flat), _draw_background(count, settings, draws))
    return views.to(device)


def plain_views(cameras: Cameras, shading: Shading, background: Sequence[float], ambient: float, diffuse: float) -> Views:
    """The same look for every camera, for previews and evaluation: light from above the camera, one plain `background` (3 values)."""
    count, device = len(cameras), cameras.to_world.device
    color = torch.tensor(list(background), dtype=cameras.to_world.dtype, device=device).expand(count, 3)
    mode = torch.full((count,), int(shading), dtype=torch.int64, device=device)
    return Views(cameras, lights_above(cameras, ambient, diffuse), mode, color)


def _draw_shading(count: int, settings: ViewSettings, draws: torch.Generator, flat: bool) -> Tensor:
    chance = _uniform(count, draws)
    mode = torch.full((count,), int(Shading.ALBEDO))
    if not flat:
        mode[chance < settings.lambertian + settings.textureless] = int(Shading.TEXTURELESS)
        mode[chance < settings.lambertian] = int(Shading.LAMBERTIAN)
    return mode


def _draw_background(count: int, settings: ViewSettings, draws: torch.Generator) -> Tensor:
    color = torch.rand(count, 3, generator=draws)
    grey = _uniform(count, draws) < settings.grey_backgrounds
    return torch.where(grey[:, None], color[:, :1], color)


def _uniform(count: int, draws: torch.Generator) -> Tensor:
    return torch.rand(count, generator=draws)


def _shared(count: int, draws: torch.Generator) -> Tensor:
    """One number for all, from as many draws."""
    return _uniform(count, draws)[:1].expand(count)


def _within(span: Span, share: Tensor) -> Tensor:
    return span[0] + (span[1] - span[0]) * share
