"""Our own picture of a delivered file's base colour, without light, and how alike two pictures are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch.nn.functional import grid_sample

from dreamfusion_mesh.audit.engines.record import Shot
from dreamfusion_mesh.records import Cameras, linear_to_srgb, srgb_to_linear
from dreamfusion_mesh.render.cameras import clip_from_world
from dreamfusion_mesh.render.raster.render import downsample
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer

_SUPERSAMPLE = 4


def unlit_picture(file: Path, shot: Shot) -> np.ndarray:
    """uint8 [size, size, 3] of a GLB as trimesh reads it: another reader than the one that the audit has."""
    mesh = trimesh.load(file, force="mesh", process=False)
    texture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
    positions, faces = torch.from_numpy(np.array(mesh.vertices)).float(), torch.from_numpy(np.array(mesh.faces)).long()
    uvs = torch.from_numpy(np.array(mesh.visual.uv)).float()
    side = shot.size * _SUPERSAMPLE
    to_world, fov = torch.tensor(shot.to_world)[None].float(), torch.tensor([np.deg2rad(shot.fov_y_degrees)]).float()
    camera = Cameras(to_world, fov, torch.zeros(1), torch.zeros(1), side, side)
    clip = torch.cat((positions, torch.ones(len(positions), 1)), dim=1) @ clip_from_world(camera, shot.near, shot.far).transpose(1, 2)
    rasterizer = resolve_rasterizer("warp", "cpu")
    fragments = rasterizer.rasterize(clip, faces, (side, side))
    at = rasterizer.interpolate(uvs, fragments, faces)
    linear = srgb_to_linear(torch.from_numpy(texture.copy()).permute(2, 0, 1)[None].float() / 255)
    grid = torch.stack((at[..., 0] * 2 - 1, 1 - at[..., 1] * 2), dim=-1)
    color = grid_sample(linear, grid, mode="bilinear", padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
    background = srgb_to_linear(torch.full((3,), shot.background))
    filled = torch.where((fragments.face >= 0)[..., None], color, background)
    return (linear_to_srgb(downsample(filled, _SUPERSAMPLE)[0].clamp(0, 1)) * 255).round().byte().numpy()


def read_png(data: bytes) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Mean structural similarity of two uint8 pictures [H, W, 3], 1 where they are equal.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, with its Gaussian of 1.5 pixels.
    """
    x, y = (picture.astype(np.float64) for picture in (one, other))

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (1.5, 1.5, 0), truncate=3.5)

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y, both = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2, mean(x * y) - mean_x * mean_y
    small, large = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + small) * (2 * both + large)
    return float((top / ((mean_x**2 + mean_y**2 + small) * (var_x + var_y + large))).mean())
