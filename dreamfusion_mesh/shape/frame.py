"""The space in which surfaces are worked on: of about unit size near the origin, whatever their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.errors import PoorOutcome
from dreamfusion_mesh.records import Mesh

_FAMILIAR = 8.0  # boxes from an eighth of this unit to this many are worked on as they are
_FAR = 8.0  # boxes that lie farther off than this many times their size are moved to the origin


@dataclass(frozen=True, eq=False)
class Frame:
    """Into the working space: subtract `shift` [3], multiply by `scale`, a power of two."""

    scale: float
    shift: Tensor

    def scaled_back(self, mesh: Mesh) -> Mesh:
        """A mesh of the working space where it was before, still at the working scale: its values round as the final ones do."""
        return Mesh(mesh.vertices + self.shift * self.scale, mesh.faces)

    def unscaled(self, mesh: Mesh, dtype: torch.dtype) -> Mesh:
        """What `scaled_back` gave at its own scale again, in `dtype`: exact for a mesh that has that precision already."""
        return Mesh((mesh.vertices.double() / self.scale).to(dtype), mesh.faces)


def into_frame(mesh: Mesh) -> tuple[Mesh, Frame]:
    """The mesh's used vertices and its faces alone, on the CPU in float64 in a working space, and that space.

    Raises ValueError where a face names a vertex that is not there; PoorOutcome where there is no face, or they have no extent, or a
    vertex is not finite.
    """
    faces = mesh.faces.detach().cpu()
    if len(faces) == 0:
        raise PoorOutcome("empty", "surface: has no faces; lower fine.threshold or take more coarse.steps")
    if not 0 <= int(faces.min()) <= int(faces.max()) < len(mesh.vertices):
        raise ValueError(f"faces: rows {int(faces.min())} to {int(faces.max())}, expected 0 to {len(mesh.vertices) - 1}")
    used, faces = faces.unique(return_inverse=True)
    vertices = mesh.vertices.detach().cpu()[used].double()
    if not bool(vertices.isfinite().all()):
        remedy = "lower fine.sdf_learning_rate or fine.deform_learning_rate"
        raise PoorOutcome("diverged", f"surface: has vertices that are not finite; {remedy}")
    frame = _frame(vertices)
    return Mesh((vertices - frame.shift) * frame.scale, faces), frame


def _frame(vertices: Tensor) -> Frame:
    low, high = vertices.amin(dim=0), vertices.amax(dim=0)
    middle, extent = low / 2 + high / 2, float((high / 2 - low / 2).max()) * 2.0
    if not 0.0 < extent < math.inf:
        raise PoorOutcome("empty", f"surface: its box is {extent:g} wide, no extent to work with; lower fine.threshold")
    far = float(middle.abs().max()) > _FAR * extent
    familiar = 1 / _FAMILIAR <= extent <= _FAMILIAR
    scale = 1.0 if familiar else math.ldexp(1.0, min(max(-math.frexp(extent)[1], -1022), 1022))
    return Frame(scale, middle if far else torch.zeros_like(middle))
