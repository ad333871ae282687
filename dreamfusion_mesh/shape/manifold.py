"""What tidying and decimation share: meshes to manifold3d and back, outer shells, and rounding to float32 without new faults.

Everything is float64 on the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamfusion_mesh.errors import PoorOutcome, RunFailed
from dreamfusion_mesh.geometry.areas import shell_volumes
from dreamfusion_mesh.geometry.soundness import degenerate, soundness
from dreamfusion_mesh.geometry.topology import shells, weld
from dreamfusion_mesh.records import Mesh

_SEPARATION = 1e-5  # of the diagonal: how far coinciding vertices are moved apart at first


def to_manifold(mesh: Mesh) -> Any:
    """The mesh as a manifold3d.Manifold, as it is indexed or else sewn by position. Raises RunFailed where it is not a closed surface."""
    if len(mesh.faces) == 0:
        raise PoorOutcome("empty", "tidy: the surface has no faces; lower fine.threshold or take more coarse.steps")
    solid = try_manifold(mesh) or try_manifold(without_duplicate_faces(weld(mesh)))
    if solid is None:
        raise RunFailed(f"tidy: the surface is not closed and manifold ({soundness(weld(mesh))}); raise fine.sdf_sign or fine.tet_size")
    return solid


def try_manifold(mesh: Mesh) -> Any | None:
    """The mesh as a manifold3d.Manifold, which parts non-manifold edges; None where its edges do not pair up."""
    import manifold3d

    arrays = manifold3d.Mesh64(mesh.vertices.numpy().copy(), mesh.faces.numpy().astype(np.uint64))
    solid = manifold3d.Manifold(arrays)
    return solid if solid.status() == manifold3d.Error.NoError and not solid.is_empty() else None


def from_manifold(solid: Any) -> Mesh:
    """A manifold3d.Manifold as a mesh."""
    arrays = solid.to_mesh64()
    vertices, faces = np.array(arrays.vert_properties[:, :3]), np.array(arrays.tri_verts).astype(np.int64)
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))


def outer_shells(mesh: Mesh, smallest_part: float) -> Mesh:
    """Only shells that look outwards, have their share of the faces and are not inside another one. Raises PoorOutcome where none does."""
    shell = shells(mesh.faces)
    volumes, sizes = shell_volumes(mesh.vertices, mesh.faces, shell), shell.bincount()
    outward = volumes > 0
    if not bool(outward.any()):
        found = f"none of {len(sizes)} shells encloses a volume (largest {float(volumes.max()):.3g})"
        raise PoorOutcome("empty", f"tidy: {found}: the surface is inside out; lower fine.threshold or fine.sdf_learning_rate")
    keep = outward & (sizes >= smallest_part * len(mesh.faces))
    keep[torch.where(outward, sizes, 0).argmax()] = True
    corners = mesh.vertices[mesh.faces]
    for index in keep.nonzero()[:, 0].tolist():
        others = corners[keep[shell] & (shell != index)]
        keep[index] = _winding_number(corners[shell == index][0, 0], others) < 0.5
    used, faces = mesh.faces[keep[shell]].unique(return_inverse=True)
    return Mesh(mesh.vertices[used], faces)


def _winding_number(point: Tensor, corners: Tensor) -> float:
    """How many times closed surfaces, given by their faces' corners [F, 3, 3], go round `point` [3] (Van Oosterom & Strackee 1983)."""
    a, b, c = (corners - point).unbind(1)
    la, lb, lc = a.norm(dim=1), b.norm(dim=1), c.norm(dim=1)
    top = (a * torch.linalg.cross(b, c, dim=1)).sum(dim=1)
    bottom = la * lb * lc + (a * b).sum(dim=1) * lc + (b * c).sum(dim=1) * la + (c * a).sum(dim=1) * lb
    return float(torch.atan2(top, bottom).sum() / (2 * torch.pi))


def neighbor_offsets(vertices: Tensor, faces: Tensor) -> Tensor:
    """[V, 3] from each vertex to the mean of its neighbours, on a closed mesh."""
    start, end = faces.reshape(-1), faces.roll(-1, dims=1).reshape(-1)
    total = torch.zeros_like(vertices).index_add_(0, start, vertices[end] - vertices[start])
    return total / start.bincount(minlength=len(vertices)).clamp_min(1)[:, None]


def rounded(mesh: Mesh, dtype: torch.dtype) -> Mesh:
    """The mesh in `dtype`, without new faults where that is float32.

    Vertices that would coincide in float32, and corners of faces that would be flat, first move a little towards their neighbours: each
    time twice as far, until there are none.
    """
    vertices = mesh.vertices
    for attempt in range(6):
        single = vertices.float()
        _, row, uses = single.unique(dim=0, return_inverse=True, return_counts=True)
        moves = (uses > 1)[row]
        moves[mesh.faces[degenerate(single.double(), mesh.faces)]] = True
        if not bool(moves.any()):
            break
        offsets = torch.nn.functional.normalize(neighbor_offsets(vertices, mesh.faces), dim=1)
        vertices = vertices + torch.where(moves[:, None], _SEPARATION * 2**attempt * diagonal(vertices) * offsets, 0.0)
    return Mesh(vertices.to(dtype), mesh.faces)


def without_duplicate_faces(mesh: Mesh) -> Mesh:
    """Without faces that have a corner twice or lie on another one: of two that look opposite ways neither stays, of equal ones one."""
    faces = mesh.faces[(mesh.faces != mesh.faces.roll(1, dims=1)).all(dim=1)]
    if len(faces) == 0:
        return Mesh(mesh.vertices[:0], faces)
    sets, row = faces.sort(dim=1).values.unique(dim=0, return_inverse=True)
    turn = -(faces.roll(-1, dims=1) - faces).sign().prod(dim=1)  # 1 where the corners run as in `sets`, -1 the other way
    balance = torch.zeros(len(sets), dtype=torch.int64).index_add_(0, row, turn).sign()
    kept = (turn == balance[row]).nonzero()[:, 0]
    first = torch.full((len(sets),), len(faces)).scatter_reduce_(0, row[kept], kept, "amin")
    used, faces = faces[first[first < len(faces)].sort().values].unique(return_inverse=True)
    return Mesh(mesh.vertices[used], faces)


def to_cpu_double(mesh: Mesh) -> Mesh:
    """Vertices and faces alone, without gradients."""
    return Mesh(mesh.vertices.detach().cpu().double(), mesh.faces.detach().cpu())


def diagonal(vertices: Tensor) -> float:
    """Length of the diagonal of the vertices' box; 0 without vertices."""
    if len(vertices) == 0:
        return 0.0
    return float((vertices.amax(dim=0) - vertices.amin(dim=0)).norm())
