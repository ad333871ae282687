"""How one step looks at the object, and what a renderer gives back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from dreamfusion_mesh.records.checks import check_tensor


class Shading(IntEnum):
    """How a view is lit: flat colour, colour times light, or a grey clay model times light (DreamFusion, section 3.1)."""

    ALBEDO = 0
    LAMBERTIAN = 1
    TEXTURELESS = 2


@dataclass(frozen=True, eq=False)
class Cameras:
    """Pinhole cameras of one image size.

    to_world   [B, 4, 4]  camera to world; columns are right, up, back, position
    fov_y      [B]        vertical field of view, radians
    azimuth    [B]        of the camera's position as seen from the origin, radians
    elevation  [B]        likewise
    """

    to_world: Tensor
    fov_y: Tensor
    azimuth: Tensor
    elevation: Tensor
    height: int
    width: int

    def __post_init__(self) -> None:
        count = self.to_world.shape[0]
        check_tensor("Cameras.to_world", self.to_world, (count, 4, 4))
        for name in ("fov_y", "azimuth", "elevation"):
            check_tensor(f"Cameras.{name}", getattr(self, name), (count,))
        if self.height < 1 or self.width < 1:
            raise ValueError(f"Cameras: image size {self.height} x {self.width}, expected at least 1 x 1")

    def __len__(self) -> int:
        return self.to_world.shape[0]

    @property
    def positions(self) -> Tensor:
        """[B, 3] in world space."""
        return self.to_world[:, :3, 3]

    def part(self, which: slice | list[int]) -> Cameras:
        """Some of the cameras."""
        to_world, fov_y = self.to_world[which], self.fov_y[which]
        return Cameras(to_world, fov_y, self.azimuth[which], self.elevation[which], self.height, self.width)

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras on `device`."""
        to_world, fov_y = self.to_world.to(device), self.fov_y.to(device)
        return Cameras(to_world, fov_y, self.azimuth.to(device), self.elevation.to(device), self.height, self.width)


@dataclass(frozen=True, eq=False)
class Lights:
    """One directional light and an ambient term a view: shade = ambient + diffuse * max(0, n . direction).

    directions  [B, 3]  unit, from the surface towards the light
    ambient     [B]
    diffuse     [B]
    """

    directions: Tensor
    ambient: Tensor
    diffuse: Tensor

    def __post_init__(self) -> None:
        count = self.directions.shape[0]
        check_tensor("Lights.directions", self.directions, (count, 3))
        check_tensor("Lights.ambient", self.ambient, (count,))
        check_tensor("Lights.diffuse", self.diffuse, (count,))

    def part(self, which: slice | list[int]) -> Lights:
        """Some of the lights."""
        return Lights(self.directions[which], self.ambient[which], self.diffuse[which])

    def to(self, device: torch.device | str) -> Lights:
        """The same lights on `device`."""
        return Lights(self.directions.to(device), self.ambient.to(device), self.diffuse.to(device))


@dataclass(frozen=True, eq=False)
class Views:
    """Everything about how one step looks at the object: both renderers draw it, guidance words it.

    shading     [B] int64   values of `Shading`
    background  [B, 3]      plain colour behind the object
    """

    cameras: Cameras
    lights: Lights
    shading: Tensor
    background: Tensor

    def __post_init__(self) -> None:
        count = len(self.cameras)
        check_tensor("Views.lights.directions", self.lights.directions, (count, 3))
        check_tensor("Views.shading", self.shading, (count,), integral=True)
        check_tensor("Views.background", self.background, (count, 3))

    def __len__(self) -> int:
        return len(self.cameras)

    def part(self, which: slice | list[int]) -> Views:
        """Some of the views."""
        return Views(self.cameras.part(which), self.lights.part(which), self.shading[which], self.background[which])

    def to(self, device: torch.device | str) -> Views:
        """The same views on `device`."""
        return Views(self.cameras.to(device), self.lights.to(device), self.shading.to(device), self.background.to(device))


@dataclass(frozen=True, eq=False)
class FieldSample:
    """What the field answers at points.

    density  [N]      >= 0, per scene unit of length
    albedo   [N, 3]   display-referred, [0, 1]
    normals  [N, 3]   unit, -grad(density) normalised; None when not asked for
    """

    density: Tensor
    albedo: Tensor
    normals: Tensor | None


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Where rays over the pictures meet the surface.

    points  [B, S, S, 3]       world space
    hit     [B, S, S]    bool  whether the ray meets it; where not, its point means nothing
    """

    points: Tensor
    hit: Tensor

    def __post_init__(self) -> None:
        check_tensor("SurfacePoints.points", self.points, (*self.hit.shape, 3))


@dataclass(frozen=True, eq=False)
class Render:
    """What a renderer gives back, the same from rays and from triangles.

    rgb          [B, H, W, 3]  shaded, over the background
    alpha        [B, H, W, 1]  coverage or opacity
    albedo       [B, H, W, 3]  unshaded, premultiplied by alpha (black where nothing is)
    normal       [B, H, W, 3]  world space, premultiplied by alpha
    depth        [B, H, W, 1]  distance from the camera along the ray, premultiplied by alpha
    orientation  [B, H, W, 1]  orientation penalty of the pixel (DreamFusion, eq. 11); zero from triangles
    """

    rgb: Tensor
    alpha: Tensor
    albedo: Tensor
    normal: Tensor
    depth: Tensor
    orientation: Tensor

    def __post_init__(self) -> None:
        lead = tuple(self.rgb.shape[:3])
        for name, channels in (("rgb", 3), ("alpha", 1), ("albedo", 3), ("normal", 3), ("depth", 1), ("orientation", 1)):
            check_tensor(f"Render.{name}", getattr(self, name), (*lead, channels))
