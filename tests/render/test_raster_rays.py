"""Random scenes (fifty in the sweep) against Embree, which casts rays and has no edge functions: the same faces, except on edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from raster_twin import sphere, within
from torch import Tensor

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.render.cameras import clip_from_world, orbit, rays

NEAR, FAR = 0.3, 9.0
ON_EDGE = 5e-4  # pixels; Embree computes in float32
TIE = 1e-5  # of the scene's unit
KINDS = ["bumpy ball", "soup", "crossing sheets", "slivers", "from within"]


def scene(kind: str, seed: int) -> tuple[Tensor, Tensor]:
    """Vertices float64 that float32 holds, and faces."""
    draws = torch.Generator().manual_seed(1000 * KINDS.index(kind) + seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws, dtype=torch.float64)

    if kind in ("bumpy ball", "from within"):
        vertices, faces = sphere(2 + seed % 3)
        waves = torch.sin(vertices @ (4 * normal(3, 5))) @ (0.05 * normal(5))
        vertices = vertices * (0.8 + waves[:, None]) * (3.5 if kind == "from within" else 1)
    elif kind == "soup":
        size = torch.exp(-0.5 - 3 * torch.rand(400, 1, 1, generator=draws, dtype=torch.float64))
        vertices, faces = (0.6 * normal(400, 1, 3) + size * normal(400, 3, 3)).reshape(-1, 3), torch.arange(1200).reshape(-1, 3)
    elif kind == "crossing sheets":
        vertices, faces = 1.5 * normal(36, 3), torch.arange(36).reshape(-1, 3)
    else:
        along, across = normal(150, 1, 3), 0.02 * normal(150, 3, 3)
        vertices = (0.5 * normal(150, 1, 3) + along * torch.tensor([-1.0, 1, 0.8])[:, None] + across).reshape(-1, 3)
        faces = torch.arange(450).reshape(-1, 3)
    return vertices.float().double(), faces


def first_hits(vertices: Tensor, faces: Tensor, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """[N] the face that each ray meets first, -1 where none, and [N] how far along it."""
    trimesh = pytest.importorskip("trimesh")
    embree = pytest.importorskip("trimesh.ray.ray_pyembree", reason="embreex is not installed, so no independent ray caster is there")
    caster = embree.RayMeshIntersector(trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False))
    found, ray, place = caster.intersects_id(origins.numpy(), directions.numpy(), multiple_hits=False, return_locations=True)
    face = torch.full((len(origins),), -1).index_copy(0, torch.from_numpy(np.asarray(ray)), torch.from_numpy(np.asarray(found)).long())
    far = torch.zeros(len(origins), dtype=torch.float64)
    far[ray] = (torch.from_numpy(place) - origins[ray]).norm(dim=1)
    return face, far


def edge_distance(corners: Tensor, centres: Tensor, height: int, width: int) -> Tensor:
    """[N] pixels from each centre (x, y over w) to the nearest edge line of its face's clip corners [N, 3, 4]."""
    planes = torch.linalg.inv(corners[:, :, [0, 1, 3]].transpose(1, 2))
    value = (planes @ torch.cat((centres, torch.ones_like(centres[:, :1])), dim=1)[..., None])[..., 0]
    slope = planes[..., :2] * torch.tensor([2 / width, 2 / height], dtype=torch.float64)
    return (value.abs() / slope.norm(dim=2)).amin(dim=1)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.sweep) for seed in range(2, 10))])
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_match_rays_cast_through_their_centres(rasterizer: Rasterizer, kind: str, seed: int) -> None:
    height, width = (61, 84) if rasterizer.stand_in else (241, 326)
    vertices, faces = scene(kind, seed)
    angles = torch.tensor([[0.7 * seed], [0.25 * seed - 1], [3.0 - 0.1 * seed], [0.7]], dtype=torch.float64)
    cameras = orbit(*angles, height, width)
    to_clip = clip_from_world(cameras, NEAR, FAR)
    clip = (torch.cat((vertices, torch.ones_like(vertices[:, :1])), dim=1) @ to_clip.transpose(1, 2)).float().double()
    origins, directions = (part[0].reshape(-1, 3) for part in rays(cameras))
    forward = -cameras.to_world[0, :3, 2]
    starts = origins + directions * (NEAR / (directions @ forward))[:, None]
    expected, along = first_hits(vertices, faces, starts, directions)
    hits = starts + along[:, None] * directions
    expected = torch.where((hits - origins) @ forward > FAR, -1, expected)

    fragments = rasterizer.rasterize(clip, faces, (height, width))
    points = rasterizer.interpolate(vertices, fragments, faces).reshape(-1, 3)
    found, depth = fragments.face.reshape(-1), fragments.depth.reshape(-1)
    weighed = (fragments.bary > 0).all(dim=-1).reshape(-1)  # where corners are rounded, a centre just outside is given the nearest point
    same = (found == expected) & (found >= 0) & weighed
    assert same.double().mean() > 0.1
    tolerance = within(rasterizer, 2e-5, 1e-4)
    torch.testing.assert_close(points[same], hits[same], rtol=0, atol=tolerance)
    deep = torch.cat((hits, torch.ones_like(hits[:, :1])), dim=1) @ to_clip[0].T
    torch.testing.assert_close(depth[same], (deep[:, 2] / deep[:, 3])[same], rtol=0, atol=tolerance)

    differ = (found != expected).nonzero()[:, 0]
    assert len(differ) <= (0.001 if rasterizer.limits.edge == 0 else 0.03) * height * width
    column, row = differ % width, differ // width
    centres = torch.stack(((column + 0.5) / width * 2 - 1, 1 - (row + 0.5) / height * 2), dim=1).double()
    near = torch.full((len(differ),), math.inf, dtype=torch.float64)
    for seen in (found[differ], expected[differ]):
        distance = edge_distance(clip[0][faces[seen.clamp_min(0)]], centres, height, width)
        near = near.minimum(torch.where(seen >= 0, distance, math.inf))
    tie = (found[differ] >= 0) & (expected[differ] >= 0) & ((points - hits)[differ].norm(dim=1) < TIE)
    assert ((near < ON_EDGE + rasterizer.limits.edge) | tie).all()
