"""Ambient occlusion: how much light from all sides reaches each texel, by rays from the reference surface."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from dreamfusion_mesh.asset.bake.texels import Texels
from dreamfusion_mesh.geometry.normals import face_normals

_LIFT = 1e-5  # of the surface's extent, off it, so that rays do not meet the face that they leave
_PARTS = 4  # of the rays: each of two by two texels of the half-size map casts a quarter


@torch.no_grad()
def bake_occlusion(texels: Texels, rays: int) -> Tensor:
    """[K] in [0, 1]: 1 where a texel's surroundings are open, by `rays` cosine-weighted rays over its neighbourhood; 1 with none.

    Traced at half the texture's size, where two by two texels share the rays between them (interleaved sampling, Keller and Heidrich
    2001): the tent of three by three texels with which the map is smoothed weighs all of the rays alike.
    """
    if rays == 0:
        return torch.ones_like(texels.points[:, 0])
    half = texels.size // 2
    row, column = texels.rows // texels.size // 2, texels.rows % texels.size // 2
    cell, first = _first_of(row * half + column, half * half)
    normals = face_normals(texels.reference.vertices, texels.reference.faces)[texels.places.faces[first]]
    extent = texels.tree.extent()
    lifted = texels.points[first] + _LIFT * extent * (normals + texels.normals[first])  # off both walls of an edge
    row, column = row[first], column[first]
    parts = _PARTS if rays >= _PARTS else 1
    share = texels.tree.open_share(
        lifted, normals, row // 2 * half + column // 2, rays, 4 * extent, (row % 2 * 2 + column % 2) % parts, parts
    )
    image = torch.zeros(2, half * half, device=share.device)  # values, and 1 where there is one
    image[0, cell], image[1, cell] = share, 1.0
    tent = torch.tensor([1.0, 2.0, 1.0], device=share.device)
    smooth = conv2d(image.view(2, 1, half, half), torch.outer(tent, tent)[None, None] / 16, padding=1)
    whole = interpolate(smooth, size=texels.size, mode="bilinear", align_corners=False).view(2, -1)[:, texels.rows]
    return whole[0] / whole[1].clamp_min(1e-6)


def _first_of(cells: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The cells, of `count`, that `cells` [K] names, in order, and the first row of each in it."""
    order = torch.arange(len(cells), device=cells.device)
    first = torch.full((count,), len(cells), device=cells.device).scatter_reduce(0, cells, order, "amin")
    named = (first < len(cells)).nonzero()[:, 0]
    return named, first[named]
