"""Objects of the prior's world as an evaluation pictures them, and two-faced ones made of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from dreamfusion_mesh.evaluate.pictures import AZIMUTHS, SUPERSAMPLE, framing, judging_views
from dreamfusion_mesh.evaluate.records import Pictures
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from tools.prior.captions import parse
from tools.prior.parts import Draw
from tools.prior.renders import SIZE, render
from tools.prior.world import Built, build


def built(prompt: str, seed: int) -> Built:
    """What the prompt describes, its proportions drawn from the seed, framed as assets are."""
    return _framed(build(parse(prompt).scene, Draw(torch.Generator().manual_seed(seed))))


def world_pictures(scene: Built) -> Pictures:
    """The scene by the world's own renderer, from an evaluation's views."""
    rasterizer, rows = resolve_rasterizer("auto", "cpu"), torch.zeros(AZIMUTHS, dtype=torch.int64)
    shadings = (Shading.LAMBERTIAN, Shading.TEXTURELESS)
    views = [judging_views(shading, SIZE * SUPERSAMPLE, AZIMUTHS, "cpu") for shading in shadings]
    return Pictures(*(render([scene], rows, each, rasterizer, SUPERSAMPLE)[0] for each in views))


def two_faced(scene: Built) -> Built:
    """The front half (z >= 0), and the same turned half way round about the vertical in the place of the back."""
    corners, normals, rows = _front_half(scene.corners.double().numpy(), scene.normals.double().numpy())
    turn = np.array([-1.0, 1.0, -1.0])
    both = (torch.from_numpy(np.concatenate([part, part * turn])).float() for part in (corners, normals))
    rows = torch.from_numpy(np.concatenate([rows, rows]))
    twice = dataclasses.replace(scene, colour=scene.colour[rows], finish=scene.finish[rows])
    return _framed(dataclasses.replace(twice, **dict(zip(("corners", "normals"), both, strict=True))))


def _framed(scene: Built) -> Built:
    middle, scale = framing(scene.corners.reshape(-1, 3))
    return dataclasses.replace(scene, corners=(scene.corners - middle) * scale)


def _front_half(corners: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners and normals [G, 3, 3] of what of the faces lies at z >= 0, and each one's row in the faces given."""
    found, rows = [], []
    for row, face in enumerate(np.concatenate([corners, normals], axis=2)):
        polygon = []
        for one, other in zip(face, np.roll(face, -1, axis=0), strict=True):
            polygon += [one] if one[2] >= 0 else []
            if (one[2] >= 0) != (other[2] >= 0):
                polygon.append(one + one[2] / (one[2] - other[2]) * (other - one))
        for at in range(1, len(polygon) - 1):
            found.append(np.stack([polygon[0], polygon[at], polygon[at + 1]]))
            rows.append(row)
    whole = np.stack(found)
    return whole[..., :3], whole[..., 3:], np.array(rows)
