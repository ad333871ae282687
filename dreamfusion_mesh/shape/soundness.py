"""Is a mesh a sound solid: closed, manifold, consistently oriented, without degenerate or duplicate faces, no shell inside out?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.records import Mesh

FLAT = 1e-6  # of the diagonal: a face that is lower than this has no normal worth the name in float32


@dataclass(frozen=True)
class Soundness:
    """What is wrong with a mesh, counted.

    open_edges          edges with one face
    nonmanifold_edges   edges with more than two
    inconsistent_edges  edges whose two faces run along it in the same direction
    degenerate_faces    faces with a corner twice, or lower than FLAT of the mesh's diagonal
    duplicate_faces     faces with the same three corners as an earlier one
    shells              parts that hang together through edges
    inverted_shells     those of them without positive volume: inside out, or the wall of a cavity
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
        duplicate_faces=len(faces) - len(faces.sort(dim=1).values.unique(dim=0)),
        shells=len(sizes),
        inverted_shells=int((shell_volumes(vertices, faces, shell) <= 0).sum()),
        smallest_shell=float(sizes.min() / len(faces)),
    )


def edge_keys(faces: Tensor, span: int) -> tuple[Tensor, Tensor]:
    """[F, 3] a number for each corner's undirected edge to the next corner, and whether it runs from the smaller row to the larger.

    The number is smaller * span + larger; `span` is above every row.
    """
    start, end = faces, faces.roll(-1, dims=1)
    return torch.minimum(start, end) * span + torch.maximum(start, end), start < end


def face_adjacency(faces: Tensor) -> Tensor:
    """[A, 2] rows of faces that share an edge; on a closed manifold 3 F / 2 of them, in the order of their edges."""
    span = int(faces.max()) + 1 if len(faces) else 1
    key, order = edge_keys(faces, span)[0].reshape(-1).sort(stable=True)
    first = (key[1:] == key[:-1]).nonzero()[:, 0]
    return torch.stack([order[first], order[first + 1]], dim=1) // 3


def shells(faces: Tensor) -> Tensor:
    """[F] number of the shell each face belongs to, from 0; faces hang together through shared edges."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = face_adjacency(faces.cpu()).T.numpy()
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(len(faces), len(faces)))
    return torch.from_numpy(connected_components(graph, directed=False)[1]).long().to(faces.device)


def signed_volume(vertices: Tensor, faces: Tensor) -> Tensor:
    """Scalar volume inside a closed mesh, negative where its faces look inwards; differentiable (divergence theorem)."""
    return _cones(vertices, faces).sum()


def shell_volumes(vertices: Tensor, faces: Tensor, shell: Tensor) -> Tensor:
    """[S] signed volume of each shell; `shell` [F] as `shells` gives it."""
    count = int(shell.max()) + 1 if len(shell) else 0
    return torch.zeros(count, dtype=vertices.dtype, device=vertices.device).index_add(0, shell, _cones(vertices, faces))


def degenerate(vertices: Tensor, faces: Tensor, flat: float = FLAT) -> Tensor:
    """[F] bool: a corner twice, or lower than `flat` of the mesh's diagonal."""
    corners = vertices[faces]
    longest = (corners - corners.roll(1, dims=1)).norm(dim=2).amax(dim=1)
    doubled = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    return doubled <= longest * flat * (vertices.amax(dim=0) - vertices.amin(dim=0)).norm()


def weld(mesh: Mesh) -> Mesh:
    """Vertices at exactly the same place become one; unused ones go. The surface's own uvs stay as they are."""
    used, faces = mesh.faces.unique(return_inverse=True)
    vertices, place = (mesh.vertices[used] + 0.0).unique(dim=0, return_inverse=True)  # adding zero turns -0 into 0
    return Mesh(vertices, place[faces], mesh.uvs, mesh.face_uvs)


def _cones(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = (vertices - vertices.detach().mean(dim=0))[faces].unbind(1)
    return (a * torch.linalg.cross(b, c, dim=1)).sum(dim=1) / 6
