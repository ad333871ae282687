"""The normal map, read back as three.js and the glTF sample viewer read it, shows the refined surface's own shading."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import trimesh
from surfaces import as_mesh, cube, sphere
from texture_lookups import bilinear

from dreamfusion_mesh.asset.bake.maps import to_maps
from dreamfusion_mesh.asset.bake.normal_map import bake_normals
from dreamfusion_mesh.asset.bake.texels import sample_texels
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

RASTERIZER = resolve_rasterizer("auto", "cpu")
SETTINGS = TextureSettings(size=512, padding=4)
LIGHTS = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-0.6, 0.6, 0.53]])


def bumps(directions: np.ndarray) -> np.ndarray:
    """[N] the radius of the bumpy ball in unit directions [N, 3]."""
    return 0.8 + 0.01 * np.sin(14 * directions).prod(axis=1)


def bumpy_normals(directions: np.ndarray) -> np.ndarray:
    """[N, 3] the bumpy ball's own normals, from the gradient of |p| - radius(p / |p|), by the product and chain rules."""
    waves, slopes = np.sin(14 * directions), 14 * np.cos(14 * directions)
    partial = 0.01 * np.stack([slopes[:, k] * np.delete(waves, k, axis=1).prod(axis=1) for k in range(3)], axis=1)
    across = (partial - directions * (partial * directions).sum(axis=1, keepdims=True)) / bumps(directions)[:, None]
    found = directions - across
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@lru_cache(maxsize=1)
def bumpy() -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=6)
    return as_mesh(ball.vertices * bumps(ball.vertices)[:, None], ball.faces)


def baked(mesh: Mesh, reference: Mesh | None) -> np.ndarray:
    texels = sample_texels(mesh, RASTERIZER, SETTINGS, reference)
    return to_maps(texels, {"normal": bake_normals(texels)})["normal"].pixels


def shown(mesh: Mesh, pixels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [N, 3] of the mesh, the smooth normals there, and those that a viewer makes of them with the map."""
    draws = np.random.default_rng(0)
    corners = mesh.vertices[mesh.faces].double().numpy()
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = draws.choice(len(area), count, p=area / area.sum())
    shares = draws.dirichlet([1, 1, 1], count)[..., None]
    normals, tangents = (part.double().numpy() for part in corner_frames(mesh))
    bitangents = np.cross(normals, tangents[..., :3]) * tangents[..., 3:]
    frame = [(part[face] * shares).sum(axis=1) for part in (tangents[..., :3], bitangents, normals)]
    t, b, n = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in frame)
    uv = (mesh.uvs.double().numpy()[mesh.face_uvs][face] * shares).sum(axis=1)
    read = bilinear(pixels, uv) / 255 * 2 - 1
    seen = read[:, :1] * t + read[:, 1:2] * b + read[:, 2:] * n
    return (corners[face] * shares).sum(axis=1), n, seen / np.linalg.norm(seen, axis=1, keepdims=True)


def shading(normals: np.ndarray) -> np.ndarray:
    return (normals @ LIGHTS.T).clip(0)


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    return float(20 * np.log10(one.std() / other.std()))


def test_a_coarse_ball_with_the_map_is_shaded_as_the_bumpy_one() -> None:
    mesh = unwrap(sphere(3), SETTINGS).mesh
    points, smooth, seen = shown(mesh, baked(mesh, bumpy()), 20_000)
    wanted = shading(bumpy_normals(points / np.linalg.norm(points, axis=1, keepdims=True)))
    detail, without = wanted - shading(smooth), shading(smooth)
    assert abs(decibels(shading(seen) - without, detail)) < 1
    error = shading(seen) - wanted
    assert -20 * np.log10(np.sqrt(np.mean(error**2))) > 30  # of white
    assert decibels(error, detail) < -10  # what is left is a third of what the map adds, or less


def test_flat_patches_and_a_surface_on_itself_are_flat() -> None:
    square = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    flat = torch.tensor([[0, 1, 2], [0, 2, 3]])
    panel = Mesh(square, flat, square[:, :2] / 4 + 0.5, flat)
    assert (baked(panel, None) == [128, 128, 255]).all()
    fine = as_mesh(*trimesh.remesh.subdivide(square.numpy(), flat.numpy()))
    assert (baked(panel, Mesh(fine.vertices + torch.tensor([0, 0, 0.01]), fine.faces)) == [128, 128, 255]).all()
    for surface in (sphere(3), cube()):
        mesh = unwrap(surface, SETTINGS).mesh
        texels = sample_texels(mesh, RASTERIZER, SETTINGS, None)
        image = to_maps(texels, {"normal": bake_normals(texels)})["normal"].pixels
        assert np.abs(image[texels.covered.numpy()].astype(int) - [128, 128, 255]).max() <= 1


def test_the_map_turns_with_its_texture() -> None:
    """A patch tilted to the right reads +X where u runs right, and +Y (green, OpenGL) once the texture is turned by a quarter."""
    square = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    flat = torch.tensor([[0, 1, 2], [0, 2, 3]])
    tilted = Mesh(square + square[:, :1] * torch.tensor([0.0, 0, -0.02]), flat)
    middle = {}
    for name, uvs in (("as it is", square[:, :2]), ("turned", torch.stack([-square[:, 1], square[:, 0]], dim=1))):
        middle[name] = baked(Mesh(square, flat, uvs / 4 + 0.5, flat), tilted)[256, 256].tolist()
    tilt = round(255 * (0.02 / np.hypot(1, 0.02) / 2 + 0.5))
    assert middle == {"as it is": [tilt, 128, 255], "turned": [128, tilt, 255]}
