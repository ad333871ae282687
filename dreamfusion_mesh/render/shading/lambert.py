"""What light makes of the surface's colour. Works on display-referred colour, as the diffusion models saw it and as DreamFusion does."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.contracts import Shader
from dreamfusion_mesh.records import Shading, Views

CLAY = 0.8  # the textureless views' grey


def needs_normals(views: Views) -> bool:
    """Whether any view is lit, so that `shader` asks for normals."""
    return bool((views.shading != Shading.ALBEDO).any())


def shader(views: Views) -> Shader:
    """A function shade(albedo [N, 3], normals [N, 3] or None, view [N] int64) -> rgb [N, 3] in [0, 1]; `view` names each point's view.

    ALBEDO gives the albedo; LAMBERTIAN clamp(albedo * (ambient + diffuse * max(0, n . l)), 0, 1); TEXTURELESS the same with grey albedo.
    `shade` raises ValueError where a view is lit and normals are None. Source: DreamFusion (arXiv:2209.14988), section 3.1, eq. 4.
    """
    lit = needs_normals(views)
    flat = views.shading == Shading.ALBEDO
    clay = views.shading == Shading.TEXTURELESS
    ambient = torch.where(flat, 1.0, views.lights.ambient)
    diffuse = torch.where(flat, 0.0, views.lights.diffuse)
    toward = views.lights.directions

    def shade(albedo: Tensor, normals: Tensor | None, view: Tensor) -> Tensor:
        if not lit:
            return albedo
        if normals is None:
            raise ValueError("normals: None, but a view is lambertian or textureless; pass [N, 3] unit normals (see needs_normals)")
        facing = (normals * toward[view]).sum(dim=1).clamp_min(0)
        base = torch.where(clay[view][:, None], CLAY, albedo)
        return (base * (ambient[view] + diffuse[view] * facing)[:, None]).clamp(0, 1)

    return shade
