"""Is a mesh a sound solid: closed, manifold, consistently oriented, without degenerate or duplicate faces, no shell inside out?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.areas import area_vectors, shell_volumes
from dreamfusion_mesh.geometry.topology import edge_keys, shells, unique_rows
from dreamfusion_mesh.records import Mesh

DEGENERATE_HEIGHT = 1e-6  # of the diagonal: a face lower than this has no usable normal in float32


@dataclass(frozen=True)
class Soundness:
    """What is wrong with a mesh, counted.

    open_edges          edges with one face
    nonmanifold_edges   edges with more than two
    inconsistent_edges  edges whose two faces run along it in the same direction
    degenerate_faces    faces with a corner twice, or lower than DEGENERATE_HEIGHT of the mesh's diagonal
    duplicate_faces     faces with the same three corners as an earlier one
    shells              parts connected through edges
    inverted_shells     those without positive volume: inside out, or the wall of a cavity
    smallest_shell      share of the faces that the smallest shell has
    """

    open_edges: int
    nonmanifold_edges: int
    inconsistent_edges: int
    degenerate_faces: int
    duplicate_faces: int
    shells: int
    inverted_shells: int
    smallest_shell: float

    @property
    def sound(self) -> bool:
        """Whether it bounds a solid: nothing above is wrong, and there is a face at all."""
        return self.shells > 0 and self.faults == 0

    @property
    def faults(self) -> int:
        """How many things are wrong."""
        edges = self.open_edges + self.nonmanifold_edges + self.inconsistent_edges
        return edges + self.degenerate_faces + self.duplicate_faces + self.inverted_shells

    def __str__(self) -> str:
        return (
            f"{self.open_edges} open, {self.nonmanifold_edges} non-manifold and {self.inconsistent_edges} inconsistent edges, "
            f"{self.degenerate_faces} degenerate and {self.duplicate_faces} duplicate faces, "
            f"{self.inverted_shells} of {self.shells} shells inside out"
        )


def soundness(mesh: Mesh) -> Soundness:
    """Count what is wrong with `mesh` as it is indexed; `weld` it first to judge it by its positions."""
    vertices, faces = mesh.vertices.detach().cpu().double(), mesh.faces.cpu()
    if len(faces) == 0:
        return Soundness(0, 0, 0, 0, 0, 0, 0, 0.0)
    key, forward = edge_keys(faces, len(vertices))
    _, edge, uses = key.unique(return_inverse=True, return_counts=True)
    balance = torch.zeros(len(uses), dtype=torch.int64).index_add_(0, edge.reshape(-1), 2 * forward.reshape(-1).long() - 1)
    shell = shells(faces)
    sizes = shell.bincount()
    return Soundness(
        open_edges=int((uses == 1).sum()),
        nonmanifold_edges=int((uses > 2).sum()),
        inconsistent_edges=int(((uses == 2) & (balance != 0)).sum()),
        degenerate_faces=int(degenerate(vertices, faces).sum()),
        duplicate_faces=len(faces) - len(unique_rows(faces.sort(dim=1).values)[0]),
        shells=len(sizes),
        inverted_shells=int((shell_volumes(vertices, faces, shell) <= 0).sum()),
        smallest_shell=int(sizes.min()) / len(faces),
    )


def degenerate(vertices: Tensor, faces: Tensor, height: float = DEGENERATE_HEIGHT) -> Tensor:
    """[F] bool: a corner twice, or lower than `height` of the mesh's diagonal."""
    corners = vertices[faces]
    longest = (corners - corners.roll(1, dims=1)).norm(dim=2).amax(dim=1)
    diagonal = (vertices.amax(dim=0) - vertices.amin(dim=0)).norm()
    return area_vectors(vertices, faces).norm(dim=1) <= longest * height * diagonal
