"""The data that flows through the house, and every convention, stated once.

Space      right-handed, +Y up, the asset's front faces +Z (glTF). Scene units; the object lies inside [-1, 1]^3.
Angles     radians. Azimuth 0 looks at the front (camera on +Z) and grows towards +X; elevation grows upwards.
Cameras    look along their own -Z; matrices take camera space to world space.
Images     [B, H, W, C], row 0 on top, float in [0, 1].
Colour     the field's and every Render's colour is display-referred (sRGB), because that is what a diffusion model sees.
           It is made linear only for physical lighting and for averaging texels.
Meshes     faces int64, counter-clockwise seen from outside. SDF negative inside.
UVs        origin bottom-left, with an index of their own, so a seam never splits the surface.
Chance     every draw comes from one seeded torch.Generator on the CPU, handed down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor


def _check(name: str, value: Tensor, shape: tuple[int | None, ...], integral: bool = False) -> None:
    fits = value.dim() == len(shape) and all(want is None or have == want for have, want in zip(value.shape, shape, strict=True))
    wanted = [("?" if n is None else n) for n in shape]
    if not fits:
        raise ValueError(f"{name}: shape {list(value.shape)}, expected {wanted}")
    if integral and value.dtype != torch.int64:
        raise ValueError(f"{name}: dtype {value.dtype}, expected torch.int64")
    if not integral and not value.is_floating_point():
        raise ValueError(f"{name}: dtype {value.dtype}, expected a floating point type")


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
        _check("Cameras.to_world", self.to_world, (count, 4, 4))
        for name in ("fov_y", "azimuth", "elevation"):
            _check(f"Cameras.{name}", getattr(self, name), (count,))
        if self.height < 1 or self.width < 1:
            raise ValueError(f"Cameras: image size {self.height} x {self.width}, expected at least 1 x 1")

    def __len__(self) -> int:
        return self.to_world.shape[0]

    @property
    def positions(self) -> Tensor:
        """[B, 3] in world space."""
        return self.to_world[:, :3, 3]


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
        _check("Lights.directions", self.directions, (count, 3))
        _check("Lights.ambient", self.ambient, (count,))
        _check("Lights.diffuse", self.diffuse, (count,))


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
        _check("Views.lights.directions", self.lights.directions, (count, 3))
        _check("Views.shading", self.shading, (count,), integral=True)
        _check("Views.background", self.background, (count, 3))

    def __len__(self) -> int:
        return len(self.cameras)


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
            _check(f"Render.{name}", getattr(self, name), (*lead, channels))


@dataclass(frozen=True, eq=False)
class Fragments:
    """Which triangle each pixel's centre sees.

    face   [B, H, W] int64    row of `faces`, -1 where none
    bary   [B, H, W, 3]       perspective-correct weights of the face's corners; zero where none
    depth  [B, H, W]          z / w in [-1, 1]; 1 where none
    """

    face: Tensor
    bary: Tensor
    depth: Tensor


@dataclass(frozen=True, eq=False)
class TetGrid:
    """A tetrahedral grid with its edges found once.

    vertices   [N, 3]          scene units
    tets       [T, 4] int64    positively oriented: dot(b - a, cross(c - a, d - a)) > 0
    edges      [E, 2] int64    each undirected edge once, smaller index first
    tet_edges  [T, 6] int64    rows of `edges`, in the order (01, 02, 03, 12, 13, 23)
    cell       float           length of the cell's edge, the unit that SDF and deformation are bounded by
    """

    vertices: Tensor
    tets: Tensor
    edges: Tensor
    tet_edges: Tensor
    cell: float

    def __post_init__(self) -> None:
        _check("TetGrid.vertices", self.vertices, (None, 3))
        _check("TetGrid.tets", self.tets, (None, 4), integral=True)
        _check("TetGrid.edges", self.edges, (None, 2), integral=True)
        _check("TetGrid.tet_edges", self.tet_edges, (self.tets.shape[0], 6), integral=True)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles, counter-clockwise seen from outside; right-handed, +Y up.

    vertices   [V, 3] float    scene units; may carry gradients
    faces      [F, 3] int64    rows of `vertices`
    uvs        [U, 2] float    optional, origin bottom-left; own index, so seams never split the surface
    face_uvs   [F, 3] int64    given exactly when `uvs` is
    """

    vertices: Tensor
    faces: Tensor
    uvs: Tensor | None = None
    face_uvs: Tensor | None = None

    def __post_init__(self) -> None:
        _check("Mesh.vertices", self.vertices, (None, 3))
        _check("Mesh.faces", self.faces, (None, 3), integral=True)
        if (self.uvs is None) != (self.face_uvs is None):
            raise ValueError("Mesh: uvs and face_uvs come together")
        if self.uvs is not None and self.face_uvs is not None:
            _check("Mesh.uvs", self.uvs, (None, 2))
            _check("Mesh.face_uvs", self.face_uvs, (self.faces.shape[0], 3), integral=True)

    def detach(self) -> Mesh:
        """The same mesh on the CPU without gradients."""
        parts = (None if part is None else part.detach().cpu() for part in (self.vertices, self.faces, self.uvs, self.face_uvs))
        vertices, faces, uvs, face_uvs = parts
        assert vertices is not None
        assert faces is not None
        return Mesh(vertices, faces, uvs, face_uvs)


@dataclass(frozen=True, eq=False)
class TextureSet:
    """Textures of one material, row 0 on top, as 8-bit images, plus the factors that multiply them.

    base_color  [S, S, 3] uint8   sRGB
    orm         [S, S, 3] uint8   linear; R occlusion, G roughness, B metallic; None where the factors alone hold
    normal      [S, S, 3] uint8   linear, +Y (OpenGL) tangent space; None where the surface is not mapped
    """

    base_color: np.ndarray
    orm: np.ndarray | None = None
    normal: np.ndarray | None = None
    roughness: float = 0.8
    metallic: float = 0.0

    def __post_init__(self) -> None:
        for name in ("base_color", "orm", "normal"):
            image = getattr(self, name)
            if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3):
                raise ValueError(f"TextureSet.{name}: {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3]")


@dataclass(frozen=True, eq=False)
class Asset:
    """What is delivered: one mesh with UVs in metres, pivot at its bottom centre, its textures, and where it came from."""

    name: str
    mesh: Mesh
    textures: TextureSet
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mesh.uvs is None:
            raise ValueError("Asset.mesh: has no uvs; unwrap it first")


def srgb_to_linear(color: Tensor) -> Tensor:
    """Display-referred [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(color <= 0.04045, color / 12.92, ((color.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: Tensor) -> Tensor:
    """Linear light to display-referred [0, 1] (IEC 61966-2-1)."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
