"""Pictures of a finished asset: what the exported file shows, from all sides, with and without its texture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.contracts import Probe, Rasterizer
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Cameras, Fragments, Mesh, linear_to_srgb, srgb_to_linear
from dreamfusion_mesh.render.cameras import clip_from_world, turntable
from dreamfusion_mesh.render.raster.render import downsample
from dreamfusion_mesh.render.texture import ColorOf, texture_lookup

VIEWS = 8
COLUMNS = 4
FRAMES = 24  # of a turntable: every third is seen as one of the preview's views
BACKGROUND = 0.27  # grey, display-referred: white and dark objects both stand out

_ELEVATION = math.radians(18)
FOV_Y = math.radians(30)
MARGIN = 1.08  # of the bounding sphere's radius
_SUPERSAMPLE = 2
CLAY = 0.6  # the textureless grey, linear
_KEY = 0.85  # light above the camera's left shoulder, linear
_SKY, _GROUND = 0.38, 0.18  # hemispheric ambient, linear: from above, from below

Texture = np.ndarray | Probe


def preview_sheet(mesh: Mesh, texture: Texture, rasterizer: Rasterizer, size: int) -> np.ndarray:
    """uint8 [4 size, 4 size, 3] sRGB: eight views every 45 degrees from the front on, lit with the texture in the two rows above and
    without it in the two below.

    texture  uint8 [S, S, 3] sRGB looked up at the mesh's UVs, row 0 at v = 1; or a function of points [N, 3] in the mesh's own
             space to display-referred colour [N, 3]
    Bounds of any size and position are framed. Lit and averaged in linear light. Raises ValueError for an empty mesh, a size under 1, or
    an image without UVs to look it up at.
    """
    pictures = torch.cat([*_around(mesh, texture, rasterizer, size, VIEWS, ("textured", "clay"))], dim=1)
    sheet = pictures.reshape(2, VIEWS // COLUMNS, COLUMNS, size, size, 3).permute(0, 1, 3, 2, 4, 5).reshape(4 * size, COLUMNS * size, 3)
    return to_picture(sheet)


def turntable_frames(mesh: Mesh, texture: Texture, rasterizer: Rasterizer, size: int) -> list[np.ndarray]:
    """FRAMES pictures, uint8 [size, size, 3] sRGB, of the mesh with its texture, once around: the first is the first of `preview_sheet`.

    As there in all else.
    """
    return [to_picture(picture[0, 0]) for picture in _around(mesh, texture, rasterizer, size, FRAMES, ("textured",))]


def _around(mesh: Mesh, texture: Texture, rasterizer: Rasterizer, size: int, count: int, looks: Sequence[str]) -> Iterator[Tensor]:
    """[looks, 1, size, size, 3] linear light of each of `count` views, evenly around from the front on."""
    if size < 1 or len(mesh.faces) == 0:
        raise ValueError(f"preview: {len(mesh.faces)} faces at {size} pixels, expected at least one of each")
    mesh, normals = smooth_surface(mesh)
    color_of = _colors(mesh, texture, rasterizer)
    side = size * _SUPERSAMPLE
    cameras = turntable(count, _ELEVATION, MARGIN / math.sin(FOV_Y / 2), FOV_Y, side, side, mesh.faces.device)
    for view in range(count):
        with torch.no_grad():
            yield _picture(mesh, normals, color_of, rasterizer, cameras.part(slice(view, view + 1)), looks)


def smooth_surface(mesh: Mesh) -> tuple[Mesh, Tensor]:
    """The mesh welded, in float32, and its vertices' normals [V, 3] as the exported file has them."""
    welded = weld(Mesh(mesh.vertices.detach().float(), mesh.faces, mesh.uvs, mesh.face_uvs))
    return welded, vertex_normals(welded.vertices.double(), welded.faces, "angle").float()


def to_picture(light: Tensor) -> np.ndarray:
    """uint8 [H, W, 3] sRGB of linear light [H, W, 3]."""
    return (linear_to_srgb(light.clamp(0, 1)) * 255).round().to(torch.uint8).cpu().numpy()


def _picture(mesh: Mesh, normals: Tensor, color_of: ColorOf, rasterizer: Rasterizer, camera: Cameras, looks: Sequence[str]) -> Tensor:
    """[looks, 1, size, size, 3] linear light of one view: "textured", "clay", or both."""
    center, radius = bounding_sphere(mesh.vertices[mesh.faces].reshape(-1, 3))
    framed = (mesh.vertices - center) / radius
    project = clip_from_world(camera, _distance(camera) - 1.1, _distance(camera) + 1.1)
    clip = torch.cat((framed, torch.ones_like(framed[:, :1])), dim=1) @ project.transpose(1, 2)
    fragments = rasterizer.rasterize(clip, mesh.faces, (camera.height, camera.width))
    seen = (fragments.face.reshape(-1) >= 0).nonzero()[:, 0]
    facing = normalize(rasterizer.interpolate(normals, fragments, mesh.faces).reshape(-1, 3)[seen], dim=1)
    light = headlight(facing, camera)
    lit = [color_of(fragments, seen) * light if look == "textured" else (CLAY * light).expand(-1, 3) for look in looks]
    empty = srgb_to_linear(torch.full((camera.height * camera.width, 3 * len(looks)), BACKGROUND, device=framed.device))
    filled = empty.index_copy(0, seen, torch.cat(lit, dim=1)).reshape(1, camera.height, camera.width, -1)
    smooth = rasterizer.antialias(filled, fragments, clip, mesh.faces)
    return torch.stack(downsample(smooth, _SUPERSAMPLE).split(3, dim=3))


def headlight(normals: Tensor, camera: Cameras) -> Tensor:
    """[N, 1] linear: a key light that goes with the camera, above it and a little to its left, and a hemisphere around."""
    right, up, back = camera.to_world[0, :3, :3].unbind(dim=1)
    key = normalize(back + 0.8 * up - 0.45 * right, dim=0)
    sky = 0.5 + 0.5 * normals[:, 1:2]
    return _KEY * (normals @ key).clamp_min(0)[:, None] + _GROUND + (_SKY - _GROUND) * sky


def _colors(mesh: Mesh, texture: Texture, rasterizer: Rasterizer) -> ColorOf:
    """A function from fragments and the pixels [N] that see the surface to its linear colour [N, 3] there."""
    if callable(texture):
        return _probed(mesh.vertices, mesh.faces, texture, rasterizer)
    return texture_lookup(mesh, texture, rasterizer)


def _probed(vertices: Tensor, faces: Tensor, texture: Probe, rasterizer: Rasterizer) -> ColorOf:
    def color_of(fragments: Fragments, seen: Tensor) -> Tensor:
        points = rasterizer.interpolate(vertices, fragments, faces).reshape(-1, 3)[seen]
        return srgb_to_linear(texture(points).detach().float().clamp(0, 1))

    return color_of


def bounding_sphere(vertices: Tensor) -> tuple[Tensor, Tensor]:
    """Centre [3] of the bounding box and the radius [] around it that holds every vertex."""
    center = (vertices.amin(dim=0) + vertices.amax(dim=0)) / 2
    return center, (vertices - center).norm(dim=1).max().clamp_min(1e-12)


def _distance(camera: Cameras) -> float:
    return float(camera.positions[0].norm())
