"""Where the object is seen from: orbits, random and fixed views, and the two ways a camera is used (rays, clip space).

Pixel (row r, column c) has its centre at x = (c + 0.5) / W * 2 - 1, y = 1 - (r + 0.5) / H * 2: row 0 is on top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.config import Span, ViewSettings
from dreamfusion_mesh.records import Cameras, Lights, Shading, Views

_LIGHT_HEIGHT = 0.8  # of the unstrayed light, per unit of its horizontal distance; what the embedded model was trained under


def orbit(
    azimuth: Tensor,
    elevation: Tensor,
    distance: Tensor,
    fov_y: Tensor,
    height: int,
    width: int,
    position_offset: Tensor | None = None,
    target: Tensor | None = None,
    up_offset: Tensor | None = None,
) -> Cameras:
    """Cameras on spheres around the origin, looking at it, +Y up in the picture; straight above or below is allowed.

    azimuth, elevation, fov_y [B] radians; distance [B] scene units. The offsets and the target [B, 3] are for jitter: the first moves
    the camera (azimuth and elevation in the result are those of the moved one), the second is looked at instead of the origin, the
    third tilts the picture's up direction.
    """
    outward, up = _sphere_frame(azimuth, elevation)
    position = outward * distance[:, None]
    if position_offset is not None:
        position = position + position_offset
        azimuth = torch.atan2(position[:, 0], position[:, 2])
        elevation = torch.atan2(position[:, 1], position[:, [0, 2]].norm(dim=1))
    back = normalize(position if target is None else position - target, dim=1)
    hint = up if up_offset is None else up + up_offset
    right = normalize(torch.linalg.cross(hint, back), dim=1)
    to_world = torch.zeros(len(azimuth), 4, 4, dtype=position.dtype, device=position.device)
    to_world[:, :3] = torch.stack((right, torch.linalg.cross(back, right), back, position), dim=2)
    to_world[:, 3, 3] = 1
    return Cameras(to_world, fov_y, azimuth, elevation, height, width)


def random_views(
    count: int, settings: ViewSettings, height: int, width: int, draws: torch.Generator, step: int, device: torch.device | str
) -> Views:
    """`count` views of one optimisation step, drawn on the CPU from `draws` and moved to `device`; the same number of draws at any step.

    Azimuths share one random offset and stand evenly around the object, so two views face each other. Source of the shares and of the
    jitter's shape: DreamFusion (arXiv:2209.14988, section 3.2) as ranged by `settings`; before `settings.albedo_steps` all views are flat.
    """
    azimuth = math.pi * (2 * _uniform(1, draws) - 1) + torch.arange(count) * (2 * math.pi / count)
    azimuth = torch.remainder(azimuth + math.pi, 2 * math.pi) - math.pi
    overhead = _uniform(count, draws) < settings.overhead
    wide, high = (_within(span, _uniform(count, draws)) for span in (settings.elevation_degrees, settings.overhead_elevation_degrees))
    cameras = orbit(
        azimuth,
        torch.deg2rad(torch.where(overhead, high, wide)),
        _within(settings.distance, _uniform(count, draws)),
        torch.deg2rad(_within(settings.fov_y_degrees, _uniform(count, draws))),
        height,
        width,
        position_offset=settings.position_jitter * (2 * torch.rand(count, 3, generator=draws) - 1),
        target=settings.target_jitter * torch.randn(count, 3, generator=draws),
    )
    stray = settings.light_spread * torch.randn(count, 3, generator=draws)
    lights = _lights(cameras, settings.ambient, settings.diffuse, stray)
    return _move(Views(cameras, lights, _draw_shading(count, settings, draws, step), _draw_background(count, settings, draws)), device)


def turntable(count: int, elevation: float, distance: float, fov_y: float, height: int, width: int, device: torch.device | str) -> Cameras:
    """`count` cameras evenly around the object at one elevation, the first at azimuth 0. Radians and scene units."""
    azimuth = torch.arange(count, dtype=torch.float32) * (2 * math.pi / count)
    level, far, angle = (torch.full_like(azimuth, value) for value in (elevation, distance, fov_y))
    return _move_cameras(orbit(azimuth, level, far, angle, height, width), device)


def plain_views(cameras: Cameras, shading: Shading, background: Sequence[float], ambient: float, diffuse: float) -> Views:
    """The same look for every camera, for previews and evaluation: light from above the camera, one plain `background` (3 values)."""
    count, device = len(cameras), cameras.to_world.device
    color = torch.tensor(list(background), dtype=cameras.to_world.dtype, device=device).expand(count, 3)
    mode = torch.full((count,), int(shading), dtype=torch.int64, device=device)
    return Views(cameras, _lights(cameras, ambient, diffuse), mode, color)


def rays(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Origins and unit directions [B, H, W, 3] in world space, through the pixels' centres."""
    height, width = cameras.height, cameras.width
    x = (torch.arange(width).to(cameras.to_world) + 0.5) / width * 2 - 1
    y = 1 - (torch.arange(height).to(cameras.to_world) + 0.5) / height * 2
    slope = torch.tan(cameras.fov_y / 2)[:, None, None, None]
    right, up, back, position = (part[:, None, None, :] for part in cameras.to_world[:, :3].unbind(dim=2))
    aside = x[None, None, :, None] * (slope * (width / height)) * right
    above = y[None, :, None, None] * slope * up
    directions = normalize(aside + above - back, dim=3)
    return position.expand_as(directions), directions


def clip_from_world(cameras: Cameras, near: float, far: float) -> Tensor:
    """[B, 4, 4] from homogeneous world points to clip space: x right, y up, z / w from -1 at `near` to 1 at `far`; w is the depth.

    A point on a ray of `rays` lands on that pixel's centre. Raises ValueError unless 0 < near < far. Source: OpenGL 2.1, glFrustum.
    """
    if not 0 < near < far:
        raise ValueError(f"near {near}, far {far}: expected 0 < near < far")
    to_world = cameras.to_world
    to_camera = torch.zeros_like(to_world)
    to_camera[:, :3, :3] = to_world[:, :3, :3].transpose(1, 2)
    to_camera[:, :3, 3] = -(to_camera[:, :3, :3] @ to_world[:, :3, 3:])[..., 0]
    to_camera[:, 3, 3] = 1
    steep = 1 / torch.tan(cameras.fov_y / 2)
    project = torch.zeros_like(to_world)
    project[:, 0, 0] = steep * (cameras.height / cameras.width)
    project[:, 1, 1] = steep
    project[:, 2, 2] = -(far + near) / (far - near)
    project[:, 2, 3] = -2 * far * near / (far - near)
    project[:, 3, 2] = -1
    return project @ to_camera


def _sphere_frame(azimuth: Tensor, elevation: Tensor) -> tuple[Tensor, Tensor]:
    """Outward and up [B, 3] in closed form: no cross product with +Y, which would vanish at the poles."""
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    outward = torch.stack((cos_e * sin_a, sin_e, cos_e * cos_a), dim=1)
    return outward, torch.stack((-sin_e * sin_a, cos_e, -sin_e * cos_a), dim=1)


def _lights(cameras: Cameras, ambient: float, diffuse: float, stray: Tensor | float = 0.0) -> Lights:
    azimuth = cameras.azimuth
    above = torch.stack((azimuth.sin(), torch.full_like(azimuth, _LIGHT_HEIGHT), azimuth.cos()), dim=1)
    return Lights(normalize(above + stray, dim=1), torch.full_like(azimuth, ambient), torch.full_like(azimuth, diffuse))


def _draw_shading(count: int, settings: ViewSettings, draws: torch.Generator, step: int) -> Tensor:
    chance = _uniform(count, draws)
    mode = torch.full((count,), int(Shading.ALBEDO))
    if step >= settings.albedo_steps:
        mode[chance < settings.lambertian + settings.textureless] = int(Shading.TEXTURELESS)
        mode[chance < settings.lambertian] = int(Shading.LAMBERTIAN)
    return mode


def _draw_background(count: int, settings: ViewSettings, draws: torch.Generator) -> Tensor:
    color = torch.rand(count, 3, generator=draws)
    grey = _uniform(count, draws) < settings.grey_backgrounds
    return torch.where(grey[:, None], color[:, :1], color)


def _uniform(count: int, draws: torch.Generator) -> Tensor:
    return torch.rand(count, generator=draws)


def _within(span: Span, share: Tensor) -> Tensor:
    return span[0] + (span[1] - span[0]) * share


def _move_cameras(cameras: Cameras, device: torch.device | str) -> Cameras:
    to_world, fov_y, azimuth, elevation = (
        part.to(device) for part in (cameras.to_world, cameras.fov_y, cameras.azimuth, cameras.elevation)
    )
    return Cameras(to_world, fov_y, azimuth, elevation, cameras.height, cameras.width)


def _move(views: Views, device: torch.device | str) -> Views:
    lights = Lights(*(part.to(device) for part in (views.lights.directions, views.lights.ambient, views.lights.diffuse)))
    return Views(_move_cameras(views.cameras, device), lights, views.shading.to(device), views.background.to(device))
