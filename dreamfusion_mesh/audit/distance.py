"""How far two surfaces are apart."""

from __future__ import annotations

import numpy as np
import torch

from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.records import Mesh

FAR = 1e3  # of a surface's size
SURFACE_SAMPLES = 100_000  # of each surface, beside all its vertices


def hausdorff(written: Written, reference: Mesh, samples: int = SURFACE_SAMPLES) -> float:
    """Symmetric Hausdorff distance over the reference's bounding diagonal, both surfaces in one space; the reference on any device.

    Measured from every vertex and `samples` points of each surface to the closest point of the other: a lower bound, close where
    samples are dense. Boxes that differ by more than a diagonal are not sampled: their difference is the bound given. Infinite where a
    surface has no area, or its numbers are too large for it to be known. Source: Cignoni et al., "Metro: measuring error on simplified
    surfaces", 1998.
    """
    used, faces = np.unique(reference.faces.detach().cpu().numpy(), return_inverse=True)
    vertices, faces = reference.vertices.detach().cpu().double().numpy()[used], faces.reshape(-1, 3)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    if not 0 < diagonal < np.inf:
        return float("inf")
    own, other = (written.vertices - low) / diagonal, (vertices - low) / diagonal
    apart = float(np.abs(np.stack([own.min(axis=0), own.max(axis=0)]) - np.stack([other.min(axis=0), other.max(axis=0)])).max())
    if not apart <= 1:
        return apart if apart == apart else float("inf")
    surfaces = (own, written.faces), (other, faces)
    if not all(has_area(*surface) for surface in surfaces):
        return float("inf")
    return max(_one_sided(own, written.faces, other, faces, samples), _one_sided(other, faces, own, written.faces, samples))


def has_area(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """Whether a face has an area, relative to the surface's size, that is more than nothing and finite."""
    size = np.ptp(vertices, axis=0).max() if len(faces) else 0.0
    total = _areas((vertices - vertices.min(axis=0)) / size, faces).sum() if 0 < size < np.inf else 0.0
    return bool(0 < total < np.inf)


def surface_samples(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [N, 3] spread evenly over a surface with area, their faces [N] and barycentric coordinates [N, 3]; always the same ones."""
    draws = np.random.default_rng(0)
    reach = np.cumsum(_areas(vertices, faces))
    face = np.searchsorted(reach, draws.random(count) * reach[-1], side="right").clip(max=len(faces) - 1)
    one, two = np.sqrt(draws.random(count)), draws.random(count)
    weights = np.stack([1 - one, one * (1 - two), one * two], axis=1)
    return np.einsum("nc,ncd->nd", weights, vertices[faces[face]]), face, weights


def nearest_points(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest points [N, 3] on a surface with area to points [N, 3], their faces [N], and the distances [N].

    For coordinates that are scaled so that what matters is near the unit box: what lies further than FAR is brought there, which keeps it
    far, and float32's squares finite.
    """
    from dreamfusion_mesh.kernels.trace import closest_point

    query, target = (torch.from_numpy(np.clip(values, -FAR, FAR)).float() for values in (points, vertices))
    found = closest_point(query, target, torch.from_numpy(faces.astype(np.int64)))
    return found[0].double().numpy(), found[1].numpy(), found[2].double().numpy()


def barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """[N, 3] barycentric coordinates of points [N, 3] in triangles [N, 3, 3] with area, clamped into them."""
    import trimesh

    found = trimesh.triangles.points_to_barycentric(corners, points)
    found = np.clip(np.nan_to_num(found), 0, None)
    return found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12)


def as_mesh(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """The record of plain arrays."""
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces.astype(np.int64)))


def _areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    import trimesh

    return trimesh.triangles.area(vertices[faces])


def _one_sided(vertices: np.ndarray, faces: np.ndarray, to_vertices: np.ndarray, to_faces: np.ndarray, samples: int) -> float:
    """The largest distance from the first surface to the second; every vertex is used by a face."""
    points = np.concatenate([vertices, surface_samples(vertices, faces, samples)[0]])
    return float(nearest_points(points, to_vertices, to_faces)[2].max())
