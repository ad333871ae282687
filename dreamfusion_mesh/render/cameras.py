"""Where the object is seen from: orbits, and the two ways a camera is used (rays, clip space).

Pixel (row r, column c) has its centre at x = (c + 0.5) / W * 2 - 1, y = 1 - (r + 0.5) / H * 2: row 0 is on top.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.records import Cameras


def orbit(
    azimuth: Tensor,
    elevation: Tensor,
    distance: Tensor,
    fov_y: Tensor,
    height: int,
    width: int,
    position_offset: Tensor | None = None,
    target: Tensor | None = None,
) -> Cameras:
    """Cameras on spheres around the origin, looking at it, +Y up in the picture; straight above or below is allowed.

    azimuth, elevation, fov_y [B] radians; distance [B] scene units. The offset and the target [B, 3] are for jitter: the first moves
    the camera (azimuth and elevation in the result are those of the moved one), the second is looked at instead of the origin.
    """
    outward, up = _sphere_frame(azimuth, elevation)
    position = outward * distance[:, None]
    if position_offset is not None:
        position = position + position_offset
        azimuth = torch.atan2(position[:, 0], position[:, 2])
        elevation = torch.atan2(position[:, 1], position[:, [0, 2]].norm(dim=1))
    back = normalize(position if target is None else position - target, dim=1)
    right = normalize(torch.linalg.cross(up, back), dim=1)
    to_world = torch.zeros(len(azimuth), 4, 4, dtype=position.dtype, device=position.device)
    to_world[:, :3] = torch.stack((right, torch.linalg.cross(back, right), back, position), dim=2)
    to_world[:, 3, 3] = 1
    return Cameras(to_world, fov_y, azimuth, elevation, height, width)


def turntable(count: int, elevation: float, distance: float, fov_y: float, height: int, width: int, device: torch.device | str) -> Cameras:
    """`count` cameras evenly around the object at one elevation, the first at azimuth 0. Radians and scene units."""
    azimuth = torch.arange(count, dtype=torch.float32) * (2 * math.pi / count)
    level, far, angle = (torch.full_like(azimuth, value) for value in (elevation, distance, fov_y))
    return orbit(azimuth, level, far, angle, height, width).to(device)


def rays(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Origins and unit directions [B, H, W, 3] in world space, through the pixels' centres."""
    height, width = cameras.height, cameras.width
    x = (torch.arange(width, device=cameras.to_world.device).to(cameras.to_world) + 0.5) / width * 2 - 1
    y = 1 - (torch.arange(height, device=cameras.to_world.device).to(cameras.to_world) + 0.5) / height * 2
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
