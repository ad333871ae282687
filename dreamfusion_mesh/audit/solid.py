"""The delivered surface: is it sound (closed, manifold, outward), how far is it from the refined mesh, and where does it stand?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.records import Mesh

SURFACE_SAMPLES = 100_000  # of each surface, beside all its vertices
_THIN = 1e-7  # of the diagonal: a face lower than this has no area in float32


@dataclass(frozen=True)
class Soundness:
    """What is wrong with a welded surface; all zero where nothing is, but for the two figures at the end.

    smallest_share   faces of the smallest shell over all faces
    smallest_volume  of all shells, signed: positive where a shell's faces look outwards
    """

    non_manifold_edges: int
    open_edges: int
    inconsistent_edges: int
    degenerate_faces: int
    duplicate_faces: int
    inward_shells: int
    shells: int
    smallest_share: float
    smallest_volume: float


def soundness(vertices: np.ndarray, faces: np.ndarray) -> Soundness:
    """Measure a welded surface (vertices [V, 3] float64, faces [F, 3]). A shell is what hangs together over edges."""
    used = np.bincount(_edge_rows(faces)[0])
    rows, forward = _edge_rows(faces)
    ahead = np.bincount(rows[forward], minlength=len(used))
    shell = _shells(rows, len(faces))
    sizes = np.bincount(shell)
    volumes = np.bincount(shell, weights=_volumes(vertices, faces, shell))
    ordered = np.sort(faces, axis=1)
    return Soundness(
        non_manifold_edges=int((used > 2).sum()),
        open_edges=int((used == 1).sum()),
        inconsistent_edges=int(((used == 2) & (ahead != 1)).sum()),
        degenerate_faces=int(_degenerate(vertices, faces).sum()),
        duplicate_faces=len(faces) - len(np.unique(ordered, axis=0)),
        inward_shells=int((volumes <= 0).sum()),
        shells=len(sizes),
        smallest_share=float(sizes.min() / len(faces)),
        smallest_volume=float(volumes.min()),
    )


def hausdorff(written: Written, reference: Mesh) -> float:
    """Symmetric Hausdorff distance over the reference's bounding diagonal, both surfaces in one space.

    Measured from every vertex and SURFACE_SAMPLES points of each surface to the closest point of the other: a lower bound, close where
    samples are dense. Boxes that differ by more than a diagonal are not sampled: their difference is the bound given. Infinite where a
    surface has no area. Source: Cignoni et al., "Metro: measuring error on simplified surfaces", 1998.
    """
    vertices = reference.vertices.detach().cpu().double().numpy()
    faces = reference.faces.detach().cpu().numpy()
    if not (corner_areas(vertices[faces]).any() and corner_areas(written.vertices[written.faces]).any()):
        return float("inf")
    low, high = bounds(vertices[np.unique(faces)])
    diagonal = float(np.linalg.norm(high - low))
    apart = float(np.abs(np.stack(bounds(written.vertices)) - np.stack((low, high))).max()) / diagonal
    if apart > 1:
        return apart
    mine, other = (written.vertices - low) / diagonal, (vertices - low) / diagonal
    return max(_farthest(mine, written.faces, other, faces), _farthest(other, faces, mine, written.faces))


def bounds(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner [3] of the surface's box."""
    return vertices.min(axis=0), vertices.max(axis=0)


def corner_areas(corners: np.ndarray) -> np.ndarray:
    """Areas [F] of triangles [F, 3, 3]."""
    return 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)


def _edge_rows(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of the undirected edge of each half edge [3 F] (01, 12, 20 of each face in turn), and whether it runs from low to high."""
    halves = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    keys = halves.min(axis=1) * (int(faces.max()) + 1) + halves.max(axis=1)
    rows = np.unique(keys, return_inverse=True)[1].reshape(-1)
    return rows, halves[:, 0] < halves[:, 1]


def _shells(edge_rows: np.ndarray, count: int) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    face = np.repeat(np.arange(count), 3)
    order = np.argsort(edge_rows, kind="stable")
    same = edge_rows[order][1:] == edge_rows[order][:-1]
    one, other = face[order][1:][same], face[order][:-1][same]
    return connected_components(coo_array((np.ones(len(one)), (one, other)), shape=(count, count)), directed=False)[1]


def _volumes(vertices: np.ndarray, faces: np.ndarray, shell: np.ndarray) -> np.ndarray:
    """Signed volume of the cone of each face over its shell's mean corner: near the shell, so that nothing cancels far from the origin."""
    corners = vertices[faces]
    sizes = np.bincount(shell)
    middle = np.stack([np.bincount(shell, weights=corners[:, :, axis].mean(axis=1)) for axis in range(3)], axis=1) / sizes[:, None]
    a, b, c = (corners[:, i] - middle[shell] for i in range(3))
    return np.einsum("fi,fi->f", a, np.cross(b, c)) / 6.0


def _degenerate(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    corners = vertices[faces]
    low, high = bounds(vertices)
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    repeated = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    return repeated | (2.0 * corner_areas(corners) <= _THIN * np.linalg.norm(high - low) * longest)


def _farthest(from_vertices: np.ndarray, from_faces: np.ndarray, to_vertices: np.ndarray, to_faces: np.ndarray) -> float:
    from dreamfusion_mesh.kernels.trace import closest_point

    points = np.concatenate([from_vertices[np.unique(from_faces)], _samples(from_vertices, from_faces)])
    query, target = torch.from_numpy(points).float(), torch.from_numpy(to_vertices).float()
    return float(closest_point(query, target, torch.from_numpy(to_faces.astype(np.int64)))[2].max())


def _samples(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Points spread over the surface by area, the same for the same surface: stratified over the area, random within each face."""
    corners = vertices[faces]
    reach = np.cumsum(corner_areas(corners))
    draws = np.random.default_rng(0)
    at = (np.arange(SURFACE_SAMPLES) + draws.random(SURFACE_SAMPLES)) / SURFACE_SAMPLES * reach[-1]
    face = np.minimum(np.searchsorted(reach, at), len(faces) - 1)
    u, v = draws.random((2, SURFACE_SAMPLES, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = (corners[face, i] for i in range(3))
    return a + u * (b - a) + v * (c - a)
