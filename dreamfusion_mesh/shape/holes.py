"""Openings in a surface closed by triangles.

Small loops get the triangulation of least area (Barequet & Sharir, "Filling gaps in the boundary of a polyhedron", 1995), large ones
that of their shape in a plane, and where either would double an edge that is there already, a fan round a new vertex in the middle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dreamfusion_mesh.geometry.topology import edge_keys
from dreamfusion_mesh.records import Mesh

Joined = Callable[[np.ndarray, np.ndarray], np.ndarray]  # whether corners of a loop, by their places in it, are joined by an edge already

_LEAST_AREA = 64  # corners of a loop up to which the least area is looked for, in time of their cube
_MOST_LOOPS = 20_000  # that are treated one by one, the longest; smaller ones get a fan, so that the time is bounded


@dataclass(frozen=True)
class Closed:
    """What was closed: how many openings, and how large the largest is over the mesh's diagonal, both measured by their boxes."""

    openings: int
    faces: int
    largest: float


def close_holes(mesh: Mesh) -> tuple[Mesh, Closed]:
    """All openings closed, on the CPU; those whose boundary does not close up stay."""
    loops = boundary_loops(mesh)
    vertices, faces = mesh.vertices.numpy(), mesh.faces.numpy()
    if not loops:
        return mesh, Closed(0, 0, 0.0)
    keys = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1) @ np.array([len(vertices), 1]))
    loops.sort(key=len, reverse=True)
    middles: list[np.ndarray] = []
    filled: list[np.ndarray] = []
    for index, loop in enumerate(loops):
        corners = vertices[loop]
        triangles = _triangulated(corners, _edges_of(loop, keys, len(vertices))) if index < _MOST_LOOPS else None
        if triangles is None:
            ahead = np.arange(len(loop))
            triangles = np.stack([ahead, np.roll(ahead, -1), np.full(len(loop), len(loop))], axis=1)
            loop = np.append(loop, len(vertices) + len(middles))
            middles.append(corners.mean(axis=0))
        filled.append(loop[triangles])
    added = np.concatenate(filled)
    diagonal = np.linalg.norm(np.ptp(vertices, axis=0))
    largest = max(float(np.linalg.norm(np.ptp(vertices[loop], axis=0))) for loop in loops) / max(float(diagonal), 1e-300)
    if middles:
        vertices = np.concatenate([vertices, np.stack(middles)])
    closed = Mesh(torch.from_numpy(vertices), torch.from_numpy(np.concatenate([faces, added])))
    return closed, Closed(len(loops), len(added), largest)


def _edges_of(loop: np.ndarray, keys: np.ndarray, span: int) -> Joined:
    """For the corners of a loop; `keys` are the mesh's edges in ascending order, smaller vertex * span + larger."""

    def joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        low, high = np.minimum(loop[one], loop[other]), np.maximum(loop[one], loop[other])
        asked = low * span + high
        return keys[np.searchsorted(keys, asked).clip(max=len(keys) - 1)] == asked

    return joined


def boundary_loops(mesh: Mesh) -> list[np.ndarray]:
    """Loops of vertices along edges with one face, each in the direction that faces which close it have; no vertex twice in a loop."""
    key, _ = edge_keys(mesh.faces, len(mesh.vertices))
    _, edge, uses = key.unique(return_inverse=True, return_counts=True)
    single = uses[edge] == 1
    start, end = mesh.faces[single].tolist(), mesh.faces.roll(-1, dims=1)[single].tolist()
    onward: dict[int, list[int]] = {}
    for begin, finish in zip(start, end, strict=True):  # against the direction of the face that is there
        onward.setdefault(finish, []).append(begin)
    loops: list[np.ndarray] = []
    for first in list(onward):
        while onward.get(first):
            loops += _walk(first, onward)
    return loops


def _walk(first: int, onward: dict[int, list[int]]) -> list[np.ndarray]:
    """Loops met on one walk along the boundary from `first`, whose edges are taken out of `onward`; what does not close up is left out."""
    loops, path, place = [], [first], {first: 0}
    while onward.get(path[-1]):
        reached = onward[path[-1]].pop()
        if reached in place:
            loop = path[place[reached] :]
            if len(loop) > 2:
                loops.append(np.array(loop))
            for left in loop[1:]:
                del place[left]
            path = path[: place[reached] + 1]
        else:
            place[reached] = len(path)
            path.append(reached)
    return loops


def _triangulated(corners: np.ndarray, joined: Joined) -> np.ndarray | None:
    """Triangles [N - 2, 3] of a loop's corners [N, 3], in its direction; None where they would double an edge that is there."""
    count = len(corners)
    if count == 3:
        return np.array([[0, 1, 2]])
    if count <= _LEAST_AREA:
        return _of_least_area(corners, joined)
    found = _in_a_plane(corners)
    if found is None:
        return None
    sides = found[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    return found if int(joined(sides[:, 0], sides[:, 1]).sum()) == count else None  # the loop's own, once each


def _of_least_area(corners: np.ndarray, joined: Joined) -> np.ndarray | None:
    count = len(corners)
    cost, best = np.zeros((count, count)), np.zeros((count, count), dtype=np.int64)
    for gap in range(2, count):
        begin = np.arange(count - gap)[:, None]
        between = begin + np.arange(1, gap)
        end = begin + gap
        sides = corners[between] - corners[begin], corners[end] - corners[begin]
        total = cost[begin, between] + cost[between, end] + np.linalg.norm(np.cross(*sides), axis=2)
        rows = np.arange(count - gap)
        chosen = total.argmin(axis=1)
        doubled = joined(rows, rows + gap) & (gap < count - 1)
        cost[rows, rows + gap] = np.where(doubled, np.inf, total[rows, chosen])
        best[rows, rows + gap] = between[rows, chosen]
    if not np.isfinite(cost[0, count - 1]):
        return None
    found, spans = [], [(0, count - 1)]
    while spans:
        begin_at, end_at = spans.pop()
        if end_at - begin_at > 1:
            middle = int(best[begin_at, end_at])
            found.append((begin_at, middle, end_at))
            spans += [(begin_at, middle), (middle, end_at)]
    return np.array(found)


def _in_a_plane(corners: np.ndarray) -> np.ndarray | None:
    """By manifold3d, which gives every loop a triangulation that is right in its connections, in the plane of Newell's normal."""
    import manifold3d

    around = corners - corners.mean(axis=0)
    normal = np.cross(around, np.roll(around, -1, axis=0)).sum(axis=0)
    length = float(np.linalg.norm(normal))
    if length == 0.0:
        return None
    normal /= length
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    first /= np.linalg.norm(first)
    flat = np.stack([around @ first, around @ np.cross(normal, first)], axis=1)
    found = np.asarray(manifold3d.triangulate([flat])).astype(np.int64)
    return found if found.shape == (len(corners) - 2, 3) else None
