"""Triangles, what a rasterizer sees of them, and the tetrahedral grid they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.records.checks import check_tensor


@dataclass(frozen=True, eq=False)
class Fragments:
    """Which triangle each pixel's centre sees.

    face   [B, H, W] int64    row of `faces`, -1 where none
    bary   [B, H, W, 3]       perspective-correct weights of the face's corners; zero where none
    depth  [B, H, W]          z / w in [-1, 1]; 1 where none
    """

    face: Tensor
    bary: Tensor
    depth: Tensor


@dataclass(frozen=True, eq=False)
class TetGrid:
    """A tetrahedral grid with its edges found once.

    vertices   [N, 3]          scene units
    tets       [T, 4] int64    positively oriented: dot(b - a, cross(c - a, d - a)) > 0
    edges      [E, 2] int64    each undirected edge once, smaller index first
    tet_edges  [T, 6] int64    rows of `edges`, in the order (01, 02, 03, 12, 13, 23)
    cell       float           length of the cell's edge, the unit that SDF and deformation are bounded by
    """

    vertices: Tensor
    tets: Tensor
    edges: Tensor
    tet_edges: Tensor
    cell: float

    def __post_init__(self) -> None:
        check_tensor("TetGrid.vertices", self.vertices, (None, 3))
        check_tensor("TetGrid.tets", self.tets, (None, 4), integral=True)
        check_tensor("TetGrid.edges", self.edges, (None, 2), integral=True)
        check_tensor("TetGrid.tet_edges", self.tet_edges, (self.tets.shape[0], 6), integral=True)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles, counter-clockwise seen from outside; right-handed, +Y up.

    vertices   [V, 3] float    scene units; may carry gradients
    faces      [F, 3] int64    rows of `vertices`
    uvs        [U, 2] float    optional, origin bottom-left; own index, so seams never split the surface
    face_uvs   [F, 3] int64    given exactly when `uvs` is
    """

    vertices: Tensor
    faces: Tensor
    uvs: Tensor | None = None
    face_uvs: Tensor | None = None

    def __post_init__(self) -> None:
        check_tensor("Mesh.vertices", self.vertices, (None, 3))
        check_tensor("Mesh.faces", self.faces, (None, 3), integral=True)
        if (self.uvs is None) != (self.face_uvs is None):
            raise ValueError("Mesh: uvs and face_uvs come together")
        if self.uvs is not None and self.face_uvs is not None:
            check_tensor("Mesh.uvs", self.uvs, (None, 2))
            check_tensor("Mesh.face_uvs", self.face_uvs, (self.faces.shape[0], 3), integral=True)

    def detach(self) -> Mesh:
        """The same mesh without gradients, where it is."""
        return self._mapped(lambda part: part.detach())

    def to(self, device: torch.device | str) -> Mesh:
        """The same mesh on `device`, gradients kept."""
        return self._mapped(lambda part: part.to(device))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Mesh:
        uvs = None if self.uvs is None else change(self.uvs)
        face_uvs = None if self.face_uvs is None else change(self.face_uvs)
        return Mesh(change(self.vertices), change(self.faces), uvs, face_uvs)
