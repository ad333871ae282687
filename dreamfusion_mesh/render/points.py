"""Where a pixel's ray meets the surface, from rays and from triangles alike."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import interpolate

from dreamfusion_mesh.records import Render, SurfacePoints, Views
from dreamfusion_mesh.render.cameras import rays

_OPAQUE = 0.5  # alpha from which on a pixel sees the object


@torch.no_grad()
def surface_points(render: Render, views: Views, side: int) -> SurfacePoints:
    """[B, side, side] points, at the middles of a grid over the picture, each as far away as the pixels around it say.

    Of a pixel that is the mean depth along its ray (of fog the middle), and of triangles that of the point that is rasterized; between
    pixels it is their mean, weighted by their alpha.
    """
    origins, directions = rays(replace(views.cameras, height=side, width=side))
    depth, alpha = (interpolate(image.permute(0, 3, 1, 2), size=(side, side), mode="bilinear") for image in (render.depth, render.alpha))
    hit = (alpha[:, 0] > _OPAQUE) & depth[:, 0].isfinite()
    far = torch.where(hit, depth[:, 0] / alpha[:, 0], 0.0)
    return SurfacePoints(origins + directions * far[..., None], hit)
