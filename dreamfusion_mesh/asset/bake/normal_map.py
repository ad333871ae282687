"""The normal map: the reference surface's smooth normals in the tangent frames that the exported mesh carries."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.texels import Texels
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.kernels.interpolate import in_frames, interpolate
from dreamfusion_mesh.records import Mesh


@torch.no_grad()
def bake_normals(texels: Texels, mesh: Mesh) -> Tensor:
    """[K, 3] tangent-space normals packed into [0, 1], +Y (OpenGL), of the reference at the places of the texels of `mesh`.

    They are read back as three.js and Khronos' sample viewer do: the vertices' normal, tangent and bitangent = w * cross(normal, tangent)
    are interpolated, each made unit, and sum up with the map's x, y, z; so the map holds the inverse of that matrix times the normal.
    """
    normals, tangents = corner_frames(mesh)
    bitangents = torch.linalg.cross(normals, tangents[..., :3]) * tangents[..., 3:]
    surface = weld(texels.reference)
    smooth = vertex_normals(surface.vertices.double(), surface.faces, "angle")
    seen = interpolate(smooth, surface.faces, texels.places, unit=True)
    return in_frames(tangents[..., :3], bitangents, normals, texels.on_mesh, seen) / 2 + 0.5
