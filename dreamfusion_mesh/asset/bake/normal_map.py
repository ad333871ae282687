"""The normal map: the reference surface's smooth normals in the tangent frames that the exported mesh carries."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.texels import Texels
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.kernels.interpolate import in_frames, interpolate


@torch.no_grad()
def bake_normals(texels: Texels) -> Tensor:
    """[K, 3] tangent-space normals packed into [0, 1], +Y (OpenGL), of the reference at the places of the texels.

    They are read back as three.js and Khronos' sample viewer do: the vertices' normal, tangent and bitangent = w * cross(normal, tangent)
    are interpolated, each made unit, and sum up with the map's x, y, z; so the map holds the inverse of that matrix times the normal.
    """
    normals, tangents = texels.frames
    bitangents = torch.linalg.cross(normals, tangents[..., :3]) * tangents[..., 3:]
    smooth = vertex_normals(texels.reference.vertices.double(), texels.reference.faces, "angle")
    seen = interpolate(smooth, texels.reference.faces, texels.places, unit=True)
    return in_frames(tangents[..., :3], bitangents, normals, texels.on_mesh, seen) / 2 + 0.5
