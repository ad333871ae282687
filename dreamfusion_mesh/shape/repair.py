"""From any triangles to a closed manifold, as far as that can be done without guessing much.

Everything is float64 on the CPU, of about unit size. Vertices that nearly coincide are joined, faces turned to agree with their
neighbours, sheets that hang on a surface's edges are taken off, and openings closed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.geometry.areas import face_areas
from dreamfusion_mesh.geometry.topology import components, edge_keys, unique_rows, weld
from dreamfusion_mesh.records import Mesh

_JOIN = 1e-5  # of the diagonal: vertices of open edges this near to one another are one; shorter edges are collapsed in the end anyway
_ROUNDS = 8  # of taking sheets off, each of which may free others


def closable(mesh: Mesh) -> tuple[Mesh, dict[str, int]]:
    """The mesh with no edge that has more than two faces, or as many of them as run along it one way as the other; and what was done.

    Edges with one face, round openings, may be left.
    """
    welded = weld(mesh)
    joined = without_duplicate_faces(_joined(welded))
    counts = {"vertices_joined": len(mesh.vertices) - len(joined.vertices), "duplicate_faces_dropped": len(mesh.faces) - len(joined.faces)}
    turned = sheets = 0
    for _ in range(_ROUNDS):
        flip = _to_be_turned(joined)
        turned += int(flip.sum())
        joined = Mesh(joined.vertices, torch.where(flip[:, None], joined.faces.flip(1), joined.faces))
        extra = _on_unbalanced_edges(joined)
        if not bool(extra.any()):
            break
        sheets += int(extra.sum())
        joined = compact(Mesh(joined.vertices, joined.faces[~extra]))
    return joined, {**counts, "faces_turned": turned, "nonmanifold_faces_dropped": sheets}


def compact(mesh: Mesh) -> Mesh:
    """Without vertices that no face uses."""
    used, faces = mesh.faces.unique(return_inverse=True)
    return Mesh(mesh.vertices[used], faces)


def without_duplicate_faces(mesh: Mesh) -> Mesh:
    """Without faces that have a corner twice or lie on another one: of two that look opposite ways neither stays, of equal ones one."""
    faces = mesh.faces[(mesh.faces != mesh.faces.roll(1, dims=1)).all(dim=1)]
    if len(faces) == 0:
        return Mesh(mesh.vertices[:0], faces)
    sets, row = unique_rows(faces.sort(dim=1).values)
    turn = -(faces.roll(-1, dims=1) - faces).sign().prod(dim=1)  # 1 where the corners run as in `sets`, -1 the other way
    balance = torch.zeros(len(sets), dtype=torch.int64).index_add_(0, row, turn).sign()
    kept = (turn == balance[row]).nonzero()[:, 0]
    first = torch.full((len(sets),), len(faces)).scatter_reduce_(0, row[kept], kept, "amin")
    return compact(Mesh(mesh.vertices, faces[first[first < len(faces)].sort().values]))


def _joined(mesh: Mesh) -> Mesh:
    """Vertices of open edges that nearly coincide made one."""
    from scipy.spatial import KDTree

    key, _ = edge_keys(mesh.faces, len(mesh.vertices))
    _, edge, uses = key.unique(return_inverse=True, return_counts=True)
    open_sides = uses[edge] == 1
    border = torch.cat([mesh.faces[open_sides], mesh.faces.roll(-1, dims=1)[open_sides]]).unique()
    if len(border) == 0:
        return mesh
    points = mesh.vertices[border]
    reach = _JOIN * float((mesh.vertices.amax(dim=0) - mesh.vertices.amin(dim=0)).norm())
    cell = KDTree(points.numpy())
    near = cell.query(points.numpy(), k=min(8, len(border)), distance_upper_bound=reach)[1].reshape(len(border), -1)
    there = torch.from_numpy(near < len(border))
    one = torch.arange(len(border))[:, None].expand_as(there)[there]
    part = components(one, torch.from_numpy(near)[there].long(), len(border))
    first = torch.full((int(part.max()) + 1,), len(border)).scatter_reduce_(0, part, torch.arange(len(border)), "amin")
    row = torch.arange(len(mesh.vertices))
    row[border] = border[first[part]]
    return Mesh(mesh.vertices, row[mesh.faces])


def _paired_sides(mesh: Mesh) -> tuple[Tensor, Tensor, Tensor]:
    """Sides [P] and [P] of edges with two faces, numbered 3 face + corner, and whether both run along their edge in the same direction."""
    key, forward = edge_keys(mesh.faces, len(mesh.vertices))
    key, order = key.reshape(-1).sort(stable=True)
    _, edge, uses = key.unique_consecutive(return_inverse=True, return_counts=True)
    one, other = order[(uses[edge] == 2).nonzero()[:, 0]].view(-1, 2).T
    return one, other, forward.reshape(-1)[one] == forward.reshape(-1)[other]


def _to_be_turned(mesh: Mesh) -> Tensor:
    """[F] bool: faces to be turned round so that neighbours agree; in each sheet the side with the smaller area turns.

    A sheet with a single side (a Moebius strip) is left as it is.
    """
    count = len(mesh.faces)
    one, other, same = _paired_sides(mesh)
    one, other = one // 3, other // 3
    if not bool(same.any()):
        return torch.zeros(count, dtype=torch.bool)
    crossed = torch.where(same, other + count, other), torch.where(same, other, other + count)
    side = components(torch.cat([one, one + count]), torch.cat(crossed), 2 * count)  # each face as it is, and turned
    areas = torch.zeros(int(side.max()) + 1, dtype=mesh.vertices.dtype)
    areas.index_add_(0, side[:count], face_areas(mesh.vertices, mesh.faces))
    kept, turned = side[:count], side[count:]
    return (areas[kept] < areas[turned]) | ((areas[kept] == areas[turned]) & (kept > turned))


def _on_unbalanced_edges(mesh: Mesh) -> Tensor:
    """[F] bool: faces of the smallest sheet at each edge with more than two faces that do not pair up; sheets end at such edges."""
    key, forward = edge_keys(mesh.faces, len(mesh.vertices))
    _, edge, uses = key.unique(return_inverse=True, return_counts=True)
    balance = torch.zeros(len(uses), dtype=torch.int64).index_add_(0, edge.reshape(-1), 2 * forward.reshape(-1).long() - 1)
    wrong = ((uses > 2) & (balance != 0))[edge]
    if not bool(wrong.any()):
        return torch.zeros(len(mesh.faces), dtype=torch.bool)
    one, other, _ = _paired_sides(mesh)
    sheet = components(one // 3, other // 3, len(mesh.faces))
    areas = torch.zeros(int(sheet.max()) + 1, dtype=mesh.vertices.dtype)
    areas.index_add_(0, sheet, face_areas(mesh.vertices, mesh.faces))
    rank = torch.empty_like(areas.argsort()).scatter_(0, areas.argsort(stable=True), torch.arange(len(areas)))
    at = sheet[:, None].expand(-1, 3)[wrong]
    smallest = torch.full((len(uses),), len(areas)).scatter_reduce_(0, edge[wrong], rank[at], "amin")
    dropped = torch.zeros(len(areas), dtype=torch.bool)
    dropped[at[rank[at] == smallest[edge[wrong]]]] = True
    return dropped[sheet]
