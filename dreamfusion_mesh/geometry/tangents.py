"""Tangents of a surface with UVs, the basis of tangent-space normal maps, as MikkTSpace has them.

Source: Mikkelsen, "Simulation of wrinkled surfaces revisited", 2008, and its reference implementation, mikktspace.c. Decisions and sums are
made in float32 in its order, so that an engine that computes tangents of its own from the delivered file finds the same ones.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.geometry.topology import distinct_rows
from dreamfusion_mesh.records import Mesh

_SMALLEST = np.finfo(np.float32).tiny  # lengths and areas up to this count as zero
_NONE, _KEPT, _MIRRORED = 0, 1, -1  # orientation of a face's UVs


def corner_frames(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Normals [F, 3, 3] and tangents [F, 3, 4] of each face's corners, float32 on the mesh's device: the values that its files hold.

    Normals are those of the welded surface, weighted by angle, the same on both sides of every seam; +Y where the faces show no direction.
    Tangents are unit, towards growing u; their fourth value is glTF's handedness w = +-1: the bitangent, w * cross(normal, tangent), points
    towards growing v. Raises ValueError where the mesh has no UVs.
    """
    if mesh.uvs is None or mesh.face_uvs is None:
        raise ValueError("tangents: mesh has no uvs; unwrap it first")
    positions, faces = distinct_rows(mesh.vertices.detach().cpu().float(), mesh.faces.cpu())
    normals = smooth_normals(positions, faces)[faces]
    uvs = mesh.uvs.detach().cpu().float()[mesh.face_uvs.cpu()]
    tangents = torch.from_numpy(corner_tangents(positions[faces].numpy(), normals.numpy(), uvs.numpy()))
    return normals.to(mesh.vertices.device), tangents.to(mesh.vertices.device)


def smooth_normals(positions: Tensor, faces: Tensor) -> Tensor:
    """[P, 3] float32 unit normals, weighted by angle; +Y where the faces show no direction, since a file must not hold a zero normal."""
    normals = vertex_normals(positions.double(), faces, "angle")
    return torch.where(normals.any(dim=1, keepdim=True), normals, normals.new_tensor([0.0, 1.0, 0.0])).float()


def corner_tangents(positions: np.ndarray, normals: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """[F, 3, 4] float32 tangents, with glTF's w, of separate corners.

    positions, normals  [F, 3, 3]   normals unit
    uvs                 [F, 3, 2]   origin bottom-left

    Where UVs show no direction of u at a corner, any tangent across its normal is given, and w = 1.
    """
    places, normals, uvs = (values.astype(np.float32) + np.float32(0) for values in (positions, normals, uvs))  # -0 becomes 0
    uvs[..., 1] = 1 - uvs[..., 1]  # as a glTF file has them; this is where the sign of w comes from
    rows = np.concatenate([places, normals, uvs], axis=2).reshape(-1, 8)
    vertex = np.unique(rows.view(np.dtype((np.void, 32))), return_inverse=True)[1].reshape(-1, 3)
    same = [(places[:, i] == places[:, (i + 1) % 3]).all(axis=1) for i in range(3)]
    alive = np.flatnonzero(~np.logical_or.reduce(same))
    found = np.zeros((*vertex.shape, 4), dtype=np.float32)
    found[..., 3] = 1
    found[alive] = _of_whole_faces(places[alive], normals[alive], uvs[alive], vertex[alive])
    _borrow(found, vertex, alive)
    _replace_unusable(found, normals)
    return found


def _of_whole_faces(places: np.ndarray, normals: np.ndarray, uvs: np.ndarray, vertex: np.ndarray) -> np.ndarray:
    """[F, 3, 4] of faces with three distinct positions; `vertex` [F, 3] numbers corners of equal position, normal and UV."""
    along, orientation = _face_tangents(places, uvs)
    loose = orientation == _NONE
    mate = _mates(vertex)
    if loose.any():
        orientation = _joined(orientation, vertex, mate)
    group = _groups(orientation, mate)
    normal, weight = normals.reshape(-1, 3), np.where(loose[:, None], np.float32(0), _angles(places, normals)).reshape(-1)
    across = [_across(np.repeat(direction, 3, axis=0), normal) for direction in along]
    tangents = _sums(across[0] * weight[:, None], group)[group]
    _part_opposites(tangents, across, weight, group, np.repeat(loose, 3))
    begun = np.bincount(group, ~np.repeat(loose, 3))[group] > 0  # no group grows from faces without orientation alone
    w = np.where((np.repeat(orientation, 3) == _KEPT) & begun, -1, 1)  # glTF's v runs downwards
    return np.concatenate([_unit(tangents), w[:, None]], axis=1, dtype=np.float32).reshape(-1, 3, 4)


def _face_tangents(places: np.ndarray, uvs: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Unit directions [F, 3] of growing u and of growing v, and the orientation [F]; none where there is no area."""
    first, second = places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]
    (u1, v1), (u2, v2) = (uvs[:, 1] - uvs[:, 0]).T, (uvs[:, 2] - uvs[:, 0]).T
    area = u1 * v2 - v1 * u2
    sign = np.where(area > 0, np.float32(1), np.float32(-1))
    along = [v2[:, None] * first - v1[:, None] * second, u1[:, None] * second - u2[:, None] * first]
    clear = np.abs(area) > _SMALLEST
    for direction in along:
        with np.errstate(over="ignore"):
            clear &= _length(direction) / np.maximum(np.abs(area), _SMALLEST) > _SMALLEST
    orientation = np.where(clear, np.where(area > 0, _KEPT, _MIRRORED), _NONE)
    return [_unit(direction) * sign[:, None] for direction in along], orientation


def _mates(vertex: np.ndarray) -> np.ndarray:
    """[3 F] of each half-edge, the one from corner i of face f being 3 f + i, that of the neighbour which runs the other way, or -1.

    Where more than two faces share an edge, the first that runs one way goes with the first that runs the other way, and so on.
    """
    start, end = vertex.reshape(-1), np.roll(vertex, -1, axis=1).reshape(-1)
    forward = start < end
    edge = np.unique(np.minimum(start, end) * (vertex.max(initial=0) + 1) + np.maximum(start, end), return_inverse=True)[1].reshape(-1)
    directed = 2 * edge + forward
    order = np.argsort(directed, kind="stable")
    run = np.maximum.accumulate(np.where(np.diff(directed[order], prepend=-1) != 0, np.arange(len(order)), 0))
    place = np.empty_like(order)
    place[order] = np.arange(len(order)) - run
    key = edge * (place.max(initial=0) + 1) + place
    ahead, back = np.flatnonzero(forward), np.flatnonzero(~forward)
    _, one, other = np.intersect1d(key[ahead], key[back], assume_unique=True, return_indices=True)
    mate = np.full(len(start), -1)
    mate[ahead[one]], mate[back[other]] = back[other], ahead[one]
    return mate


def _joined(orientation: np.ndarray, vertex: np.ndarray, mate: np.ndarray) -> np.ndarray:
    """The orientations [F] once faces without one have taken that of the first group that reaches them round a vertex.

    Groups grow in the order of their first corners, which is the one thing in MikkTSpace that depends on the order of faces.
    """
    result, taken = orientation.copy(), np.zeros(vertex.size, dtype=bool)
    near = np.isin(vertex, vertex[orientation == _NONE]) & (orientation != _NONE)[:, None]
    corners = np.arange(vertex.size)
    left, right = np.where(mate >= 0, _step(mate, 1), -1).tolist(), mate[_step(corners, 2)].tolist()  # next ones round the vertex
    for seed in np.flatnonzero(near).tolist():
        sign, waiting = result[seed // 3], [seed]
        while waiting:
            corner = waiting.pop()
            face = corner // 3
            if corner < 0 or taken[corner] or result[face] not in (_NONE, sign):
                continue
            taken[corner], result[face] = True, sign
            waiting += [left[corner], right[corner]]
    return result


def _groups(orientation: np.ndarray, mate: np.ndarray) -> np.ndarray:
    """[3 F] number of each corner's group: corners round a vertex, joined over edges between faces of the same orientation."""
    corner = np.flatnonzero(mate >= 0)
    other = _step(mate[corner], 1)
    joined = (orientation[corner // 3] == orientation[other // 3]) & (orientation[corner // 3] != _NONE)
    graph = coo_array((np.ones(joined.sum(), dtype=np.int8), (corner[joined], other[joined])), shape=(len(mate), len(mate)))
    return connected_components(graph, directed=False)[1]


def _part_opposites(tangents: np.ndarray, across: list[np.ndarray], weight: np.ndarray, group: np.ndarray, loose: np.ndarray) -> None:
    """In `tangents` [3 F, 3], sums of groups, leave out of a corner's sum the faces whose u or v points exactly the other way.

    They meet where a chart is folded. This is what MikkTSpace's angular threshold does at its default of 180 degrees.
    """
    behind = np.zeros(len(group), dtype=bool)
    for directions in across:
        total = _sums(directions * weight[:, None], group)[group]
        behind |= (_dot(directions, total) <= 0) & directions.any(axis=1)  # as one of two opposites is at least
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], np.arange(group.max(initial=-1) + 2))
    for number in np.unique(group[behind & ~loose]).tolist():
        members = order[start[number] : start[number + 1]]
        cosines = [_dot(directions[members][:, None], directions[members][None]) for directions in across]
        fits = (np.minimum(*cosines) > -1) | loose[members][:, None] | loose[members][None] | np.eye(len(members), dtype=bool)
        for row in np.flatnonzero(~fits.all(axis=1)):
            kept = members[fits[row]]
            tangents[members[row]] = _sums(across[0][kept] * weight[kept, None], np.zeros(len(kept), dtype=np.int64))[0]


def _borrow(found: np.ndarray, vertex: np.ndarray, alive: np.ndarray) -> None:
    """Give corners of faces that lie on a point or a line the tangent of the first whole face's corner at the same vertex."""
    lost = np.ones(len(vertex), dtype=bool)
    lost[alive] = False
    source = np.full(vertex.max(initial=0) + 1, -1)
    donors = (alive[:, None] * 3 + np.arange(3)).reshape(-1)[::-1]
    source[vertex.reshape(-1)[donors]] = donors  # reversed, so that the first one stays
    rows = np.flatnonzero(np.repeat(lost, 3) & (source[vertex.reshape(-1)] >= 0))
    flat = found.reshape(-1, 4)
    flat[rows] = flat[source[vertex.reshape(-1)[rows]]]


def _replace_unusable(found: np.ndarray, normals: np.ndarray) -> None:
    """Where a tangent is zero, or noise that does not lie across the normal, put any that does."""
    unusable = ~((np.abs(_dot(found[..., :3], normals)) < 0.1) & (_length(found[..., :3]) > 0.5))
    normal = normals[unusable]
    axis = np.eye(3, dtype=np.float32)[np.abs(normal).argmin(axis=1)]
    found[unusable, :3] = _across(axis, normal)


def _angles(places: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """[F, 3] of each face at each of its corners, as seen along the normal, radians."""
    back, ahead = (
        _across(np.roll(places, shift, axis=1).reshape(-1, 3) - places.reshape(-1, 3), normals.reshape(-1, 3)) for shift in (1, -1)
    )
    return np.arccos(np.clip(_dot(back, ahead), -1, 1)).reshape(-1, 3)


def _across(vectors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The part of `vectors` [N, 3] across unit `normals`, made unit; zero where there is none."""
    return _unit(vectors - _dot(normals, vectors)[:, None] * normals)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = _length(vectors)
    return np.where(length > _SMALLEST, 1 / np.maximum(length, _SMALLEST), np.float32(0))[:, None] * vectors


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(_dot(vectors, vectors))


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one[..., 0] * other[..., 0] + one[..., 1] * other[..., 1] + one[..., 2] * other[..., 2]


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[G, 3] sums of `values` [N, 3] by group, added one after another."""
    total = np.zeros((group.max(initial=-1) + 1, 3), dtype=values.dtype)
    np.add.at(total, group, values)
    return total


def _step(corner: np.ndarray, steps: int) -> np.ndarray:
    """The corner `steps` further round its face."""
    return corner // 3 * 3 + (corner + steps) % 3
