"""One picture of all that is delivered, to be looked at: lit, clay, normals and ORM on the surface, the maps, levels of detail, hulls."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.geometry.normals import face_normals
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.records import Asset, Cameras, Fragments, Material, Mesh, TextureMap, srgb_to_linear
from dreamfusion_mesh.render.cameras import clip_from_world, turntable
from dreamfusion_mesh.render.previews import BACKGROUND, CLAY, FOV_Y, MARGIN, bounding_sphere, headlight, to_picture
from dreamfusion_mesh.render.raster.render import downsample

COLUMNS = 4
_SUPERSAMPLE = 3
_ELEVATION, _VIEWS, _VIEW = math.radians(18), 12, 1  # a view 30 degrees to the right of the front
_LABEL_HEIGHT = 14  # pixels


@dataclass(frozen=True, eq=False)
class _Frame:
    """The camera that all pictures share, and what it is aimed at."""

    camera: Cameras
    center: Tensor
    radius: Tensor


@dataclass(frozen=True, eq=False)
class _Corners:
    """A mesh with every face's corners of their own: rows 3 f, 3 f + 1, 3 f + 2 are those of face f."""

    positions: Tensor
    uvs: Tensor
    normals: Tensor
    tangents: Tensor
    faces: Tensor


@torch.no_grad()
def inspection_sheet(asset: Asset, rasterizer: Rasterizer, size: int) -> np.ndarray:
    """uint8 [R size, 4 size, 3] sRGB, pictures of `size` pixels with their names: the asset lit with all its maps, as clay, its normals and
    its ORM map; the maps themselves; each level of detail with flat faces; and the collision hulls, a hue each.

    All but the maps are seen from one camera, in front and a little to the right. Raises ValueError for a size under 1.
    """
    if size < 1:
        raise ValueError(f"inspection: pictures of {size} pixels, expected at least one")
    frame = _framed(asset.mesh, size)
    corners = _unrolled(asset.mesh)
    tiles = [(name, _surface(corners, color, rasterizer, frame)) for name, color in _looks(asset.material, corners, rasterizer, frame)]
    tiles += [(f"{role.replace('_', ' ')} map", flat_map(image, size)) for role, image in asset.material.maps.items()]
    for number, level in enumerate(asset.lods, start=1):
        flat = _unrolled(level.mesh, flat=True)
        lit = _lit(level.material, flat, rasterizer, frame)
        tiles.append((f"LOD{number}, {len(level.mesh.faces)}", _surface(flat, lit, rasterizer, frame)))
    if asset.hulls:
        tiles.append((f"collision, {len(asset.hulls)}", _hulls(asset.hulls, rasterizer, frame)))
    return _sheet([_labelled(to_picture(tile), name) for name, tile in tiles], size)


def _framed(mesh: Mesh, size: int) -> _Frame:
    side = size * _SUPERSAMPLE
    cameras = turntable(_VIEWS, _ELEVATION, MARGIN / math.sin(FOV_Y / 2), FOV_Y, side, side, mesh.faces.device)
    part = slice(_VIEW, _VIEW + 1)
    camera = Cameras(cameras.to_world[part], cameras.fov_y[part], cameras.azimuth[part], cameras.elevation[part], side, side)
    return _Frame(camera, *bounding_sphere(mesh.vertices.float()[mesh.faces].reshape(-1, 3)))


def _unrolled(mesh: Mesh, flat: bool = False) -> _Corners:
    assert mesh.uvs is not None
    assert mesh.face_uvs is not None
    normals, tangents = corner_frames(mesh)
    if flat:
        normals = face_normals(mesh.vertices.double(), mesh.faces)[:, None].expand(-1, 3, -1)
    faces = torch.arange(3 * len(mesh.faces), device=mesh.faces.device).reshape(-1, 3)
    positions, uvs = mesh.vertices.float()[mesh.faces].reshape(-1, 3), mesh.uvs.float()[mesh.face_uvs].reshape(-1, 2)
    return _Corners(positions, uvs, normals.float().reshape(-1, 3), tangents.float().reshape(-1, 4), faces)


Color = Callable[[Fragments, Tensor], Tensor]  # fragments and the pixels [N] that see the surface to linear light [N, 3]


def _looks(material: Material, corners: _Corners, rasterizer: Rasterizer, frame: _Frame) -> list[tuple[str, Color]]:
    def clay(fragments: Fragments, seen: Tensor) -> Tensor:
        facing = normalize(rasterizer.interpolate(corners.normals, fragments, corners.faces).reshape(-1, 3)[seen], dim=1)
        return (CLAY * headlight(facing, frame.camera)).expand(-1, 3)

    def normals(fragments: Fragments, seen: Tensor) -> Tensor:
        return srgb_to_linear(0.5 + 0.5 * _mapped_normals(material, corners, rasterizer, fragments, seen))

    def orm(fragments: Fragments, seen: Tensor) -> Tensor:
        return srgb_to_linear(_look_up(material.maps["orm"], corners, rasterizer, fragments, seen))

    looks = [("lit, all maps", _lit(material, corners, rasterizer, frame)), ("clay", clay), ("normals", normals)]
    return [*looks, ("ORM", orm)] if "orm" in material.maps else looks


def _lit(material: Material, corners: _Corners, rasterizer: Rasterizer, frame: _Frame) -> Color:
    def lit(fragments: Fragments, seen: Tensor) -> Tensor:
        color = srgb_to_linear(_look_up(material.maps["base_color"], corners, rasterizer, fragments, seen))
        light = headlight(_mapped_normals(material, corners, rasterizer, fragments, seen), frame.camera)
        occlusion = _look_up(material.maps["orm"], corners, rasterizer, fragments, seen)[:, :1] if "orm" in material.maps else 1.0
        return color * light * occlusion

    return lit


def _mapped_normals(material: Material, corners: _Corners, rasterizer: Rasterizer, fragments: Fragments, seen: Tensor) -> Tensor:
    """[N, 3] unit normals in the asset's space, by the normal map where there is one (glTF 2.0, section 3.9.3)."""
    normal = rasterizer.interpolate(corners.normals, fragments, corners.faces).reshape(-1, 3)[seen]
    if "normal" not in material.maps:
        return normalize(normal, dim=1)
    along_u, sign = rasterizer.interpolate(corners.tangents, fragments, corners.faces).reshape(-1, 4)[seen].split((3, 1), dim=1)
    along_v = torch.linalg.cross(normal, along_u, dim=1) * sign.sign()
    x, y, z = (2 * _look_up(material.maps["normal"], corners, rasterizer, fragments, seen) - 1).split(1, dim=1)
    return normalize(x * along_u + y * along_v + z * normal, dim=1)


def _look_up(image: TextureMap, corners: _Corners, rasterizer: Rasterizer, fragments: Fragments, seen: Tensor) -> Tensor:
    """[N, C] stored values in [0, 1], bilinear between texels."""
    u, v = rasterizer.interpolate(corners.uvs, fragments, corners.faces).reshape(-1, 2)[seen].unbind(1)
    pixels = torch.from_numpy(np.ascontiguousarray(image.pixels)).to(u.device).permute(2, 0, 1)[None].float() / 255
    grid = torch.stack((u * 2 - 1, 1 - v * 2), dim=1)[None, None]  # from origin bottom-left to row 0 on top
    return grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T


def _surface(corners: _Corners, color: Color, rasterizer: Rasterizer, frame: _Frame) -> Tensor:
    """[size, size, 3] linear light."""
    camera = frame.camera
    framed = (corners.positions - frame.center) / frame.radius
    distance = float(camera.positions[0].norm())
    project = clip_from_world(camera, distance - 1.5, distance + 1.5)
    clip = torch.cat((framed, torch.ones_like(framed[:, :1])), dim=1) @ project.transpose(1, 2)
    fragments = rasterizer.rasterize(clip, corners.faces, (camera.height, camera.width))
    seen = (fragments.face.reshape(-1) >= 0).nonzero()[:, 0]
    empty = srgb_to_linear(torch.full((camera.height * camera.width, 3), BACKGROUND, device=framed.device))
    filled = empty.index_copy(0, seen, color(fragments, seen).clamp(0, 1))
    return downsample(filled.reshape(1, camera.height, camera.width, 3), _SUPERSAMPLE)[0]


def _hulls(hulls: tuple[Mesh, ...], rasterizer: Rasterizer, frame: _Frame) -> Tensor:
    colors = [colorsys.hsv_to_rgb((0.618034 * number) % 1, 0.55, 0.9) for number in range(len(hulls))]
    hues = torch.tensor(colors, device=hulls[0].vertices.device)
    positions = torch.cat([hull.vertices.float()[hull.faces].reshape(-1, 3) for hull in hulls])
    normals = torch.cat([face_normals(hull.vertices.double(), hull.faces).float() for hull in hulls]).repeat_interleave(3, dim=0)
    color = torch.cat([hues[number].expand(len(hull.faces), 3) for number, hull in enumerate(hulls)])
    faces = torch.arange(len(positions), device=positions.device).reshape(-1, 3)
    corners = _Corners(positions, positions[:, :2], normals, torch.zeros(len(positions), 4, device=positions.device), faces)

    def hue(fragments: Fragments, seen: Tensor) -> Tensor:
        facing = rasterizer.interpolate(normals, fragments, faces).reshape(-1, 3)[seen]
        return srgb_to_linear(color[fragments.face.reshape(-1)[seen]]) * headlight(normalize(facing, dim=1), frame.camera)

    return _surface(corners, hue, rasterizer, frame)


def flat_map(image: TextureMap, size: int) -> Tensor:
    """[size, size, 3] linear light, on the CPU, of the map's stored values, averaged to that size."""
    pixels = torch.from_numpy(np.ascontiguousarray(image.pixels)).permute(2, 0, 1)[None].float() / 255
    return srgb_to_linear(torch.nn.functional.interpolate(pixels, (size, size), mode="area")[0].permute(1, 2, 0))


def _labelled(picture: np.ndarray, name: str) -> np.ndarray:
    """The picture with its name in the lower left corner, where there is room for letters."""
    from PIL import Image, ImageDraw

    if len(picture) < 4 * _LABEL_HEIGHT:
        return picture
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    at = (4, len(picture) - _LABEL_HEIGHT)
    draw.rectangle((0, at[1] - 2, 8 + draw.textlength(name), len(picture)), fill=(24, 24, 24))
    draw.text(at, name, fill=(235, 235, 235))
    return np.asarray(image)


def _sheet(tiles: list[np.ndarray], size: int) -> np.ndarray:
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.full((rows * size, COLUMNS * size, 3), round(BACKGROUND * 255), dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = divmod(index, COLUMNS)
        sheet[top * size : (top + 1) * size, left * size : (left + 1) * size] = tile
    return sheet
