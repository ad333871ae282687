"""Position and size of the delivered mesh."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamfusion_mesh.errors import PoorOutcome
from dreamfusion_mesh.records import Mesh


def stand_on_ground(mesh: Mesh, longest_side: float) -> tuple[Mesh, float, Tensor]:
    """Stand the mesh on the ground: bottom centre at the origin, longest side `longest_side` metres. Uvs stay.

    Gives the placed mesh, the scale and the offset [3]: placed = scale * vertex + offset.
    Raises PoorOutcome for a mesh without extent.
    """
    vertices = mesh.vertices if len(mesh.vertices) else mesh.vertices.new_zeros(1, 3)
    low, high = vertices.amin(dim=0), vertices.amax(dim=0)
    extent = float((high - low).max())
    if not 0 < extent < float("inf"):
        kind: Literal["empty", "diverged"] = "empty" if extent == 0 else "diverged"
        raise PoorOutcome(kind, f"placement: the mesh's longest side is {extent:.4g}, expected a finite length above 0")
    scale = longest_side / extent
    pivot = torch.stack([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    return Mesh((mesh.vertices - pivot) * scale, mesh.faces, mesh.uvs, mesh.face_uvs), scale, -pivot * scale
