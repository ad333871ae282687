"""The normal map: the reference surface's smooth normals in the tangent frames that the exported mesh carries."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.texels import Texels
from dreamfusion_mesh.geometry.normals import unit_vectors, vertex_normals
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.kernels.trace import blend
from dreamfusion_mesh.records import Mesh

_TEXELS = 1 << 19  # at once


@torch.no_grad()
def bake_normals(texels: Texels, mesh: Mesh) -> Tensor:
    """[K, 3] tangent-space normals packed into [0, 1], +Y (OpenGL), of the reference at the places of the texels of `mesh`.

    They are read back as three.js and Khronos' sample viewer do: the vertices' normal, tangent and bitangent = w * cross(normal, tangent)
    are interpolated, each made unit, and sum up with the map's x, y, z; so the map holds the inverse of that matrix times the normal.
    """
    normals, tangents = corner_frames(mesh)
    corner_normals, corner_tangents = normals.float(), tangents[..., :3].float()
    bitangents = (torch.linalg.cross(normals, tangents[..., :3]) * tangents[..., 3:]).float()
    frames = [part.reshape(-1, 3) for part in (corner_tangents, bitangents, corner_normals)]
    surface = weld(texels.reference)
    smooth = vertex_normals(surface.vertices.double(), surface.faces, "angle").float()
    packed = torch.empty_like(texels.points)
    for part in torch.arange(len(packed), device=packed.device).split(_TEXELS):
        corners = 3 * texels.faces[part, None] + torch.arange(3, device=packed.device)
        t, b, n = (unit_vectors(blend(values, corners, texels.weights[part])) for values in frames)
        seen = unit_vectors(blend(smooth, surface.faces[texels.places.faces[part]], texels.places.weights[part]))
        packed[part] = _in_frame(t, b, n, seen) / 2 + 0.5
    return packed


def _in_frame(t: Tensor, b: Tensor, n: Tensor, seen: Tensor) -> Tensor:
    """The unit vector [N, 3] along x, y, z for which x t + y b + z n is along `seen`; (0, 0, 1) where it would point inwards."""
    normal_t, normal_b, normal_n = torch.linalg.cross(b, n), torch.linalg.cross(n, t), torch.linalg.cross(t, b)
    handed = torch.where((t * normal_t).sum(dim=1, keepdim=True) < 0, -1.0, 1.0)  # of the frame; a volume is of no matter, only its sign
    found = torch.stack([(seen * axis).sum(dim=1) for axis in (normal_t, normal_b, normal_n)], dim=1) * handed
    flat = torch.tensor([0.0, 0.0, 1.0], device=seen.device).expand_as(found)
    return torch.where(found[:, 2:] > 0, unit_vectors(found), flat)
