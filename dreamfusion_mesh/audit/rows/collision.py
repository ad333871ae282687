"""Row 12: do a few convex hulls stand for the surface in collisions?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dreamfusion_mesh.audit.distance import has_area, surface_samples
from dreamfusion_mesh.audit.readers.written import Hull, Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.config import AuditSettings

SAMPLES = 20_000  # points of the surface
CONVEX_TOLERANCE = 1e-4  # of the surface's diagonal: what a vertex may stand out of a face's plane, for float32


def collision_row(written: Written, hulls: Sequence[Hull], settings: AuditSettings) -> Row:
    """Row 12."""
    if not hulls:
        return unmeasured_row(12, "there are no collision hulls, neither in the file nor as NAME_collision.glb beside it")
    if not has_area(written.vertices, written.faces):
        return measured_row(12, {"hulls": len(hulls)}, ["the surface has no area"])
    vertices = max(len(hull.vertices) for hull in hulls)
    diagonal = float(np.linalg.norm(np.ptp(written.vertices, axis=0)))
    problems = [f"{len(hulls)} hulls, at most {settings.hulls}"] if len(hulls) > settings.hulls else []
    problems += [f"a hull of {vertices} vertices, at most {settings.hull_vertices}"] if vertices > settings.hull_vertices else []
    measured: Figures = {"hulls": len(hulls), "most vertices": vertices}
    bent = [hull.name for hull in hulls if not is_convex(hull, CONVEX_TOLERANCE * diagonal)]
    if bent:
        problems.append(f"{len(bent)} of the hulls are not closed and convex, such as {bent[0]!r}")
        return measured_row(12, measured, problems, "what they cover is not measured")
    covered, ratio = coverage(written, hulls, settings.hull_distance * diagonal), volume_ratio(written, hulls)
    if not covered >= settings.hull_coverage:
        near = f"within {settings.hull_distance:.3g} of the diagonal"
        problems.append(f"{covered:.1%} of the surface is in a hull or {near}, at least {settings.hull_coverage:.1%}")
    if ratio is None:
        return measured_row(12, {**measured, "covered": covered, "volume": "not measured"}, problems, "an open surface has no volume")
    if not ratio <= settings.hull_volume:
        problems.append(f"the hulls fill {ratio:.3g} times the surface's volume, at most {settings.hull_volume:g}")
    return measured_row(12, {**measured, "covered": covered, "volume": ratio}, problems)


def is_convex(hull: Hull, tolerance: float) -> bool:
    """Closed, facing outwards, thicker than `tolerance`, and with no vertex further than that outside the plane of a face."""
    import trimesh

    mesh = trimesh.Trimesh(hull.vertices, hull.faces, process=False)
    if not mesh.is_watertight or not mesh.is_winding_consistent:
        return False
    heights = _heights(hull, hull.vertices)
    return bool((heights <= tolerance).all() and heights.min() < -tolerance)


def coverage(written: Written, hulls: Sequence[Hull], distance: float) -> float:
    """Share of the surface's area in a convex hull, or within `distance` of one."""
    from dreamfusion_mesh.kernels.trace import closest_point

    low, size = written.vertices.min(axis=0), float(np.ptp(written.vertices, axis=0).max())
    points = surface_samples((written.vertices - low) / size, written.faces, SAMPLES)[0]
    placed = [Hull(hull.name, (hull.vertices - low) / size, hull.faces) for hull in hulls]
    left = points[~np.any([(_heights(hull, points) <= 0).all(axis=1) for hull in placed], axis=0)]
    if not len(left):
        return 1.0
    starts = np.cumsum([0, *(len(hull.vertices) for hull in placed[:-1])])
    vertices = torch.from_numpy(np.concatenate([hull.vertices for hull in placed])).float()
    faces = torch.from_numpy(np.concatenate([hull.faces + start for hull, start in zip(placed, starts, strict=True)]))
    apart = closest_point(torch.from_numpy(left).float(), vertices, faces)[2].numpy()
    return 1.0 - float((~(apart <= distance / size)).sum()) / len(points)


def volume_ratio(written: Written, hulls: Sequence[Hull]) -> float | None:
    """The volume of the union of the hulls over the surface's own; None where that is open or inside out."""
    import manifold3d
    import trimesh

    low, size = written.vertices.min(axis=0), float(np.ptp(written.vertices, axis=0).max())
    own = trimesh.Trimesh((written.vertices - low) / size, written.faces, process=False)
    if not own.is_watertight or not own.volume > 0:
        return None

    def solid(hull: Hull) -> Any:
        return manifold3d.Manifold.hull_points(((hull.vertices - low) / size).astype(np.float32))

    union = manifold3d.Manifold.batch_boolean([solid(hull) for hull in hulls], manifold3d.OpType.Add)
    return float(union.volume()) / float(own.volume)


def _heights(hull: Hull, points: np.ndarray) -> np.ndarray:
    """[N, F] heights of points [N, 3] over the planes of a hull's faces; of a face without area, none."""
    a, b, c = (hull.vertices[column] for column in hull.faces.T)
    across = np.cross(b - a, c - a)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    normals = across / np.where(length > 0, length, 1.0)
    return points @ normals.T - np.einsum("fi,fi->f", a, normals)
