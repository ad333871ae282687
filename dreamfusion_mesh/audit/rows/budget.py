"""Row 3: how many triangles, and how far from the refined mesh?"""

from __future__ import annotations

import numpy as np
import torch

from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.records import Mesh

SURFACE_SAMPLES = 100_000  # of each surface, beside all its vertices


def budget_row(written: Written, settings: AuditSettings, budget: int, reference: Mesh | None) -> Row:
    """Row 3: at most `budget` triangles, and near the `reference` where there is one."""
    triangles = len(written.faces)
    measured: Figures = {"triangles": triangles, "allowed": budget}
    problems = [f"{triangles} triangles, at most {budget}"] if triangles > budget else []
    if reference is None:
        return measured_row(3, {**measured, "hausdorff": "not measured"}, problems, "hausdorff not measured: no refined mesh at hand")
    distance = hausdorff(written, reference)
    if not distance <= settings.hausdorff:
        problems.append(f"Hausdorff distance {distance:.3%} of the diagonal, at most {settings.hausdorff:.3%}")
    return measured_row(3, {**measured, "hausdorff": distance}, problems)


def hausdorff(written: Written, reference: Mesh) -> float:
    """Symmetric Hausdorff distance over the reference's bounding diagonal, both surfaces in one space; the reference on any device.

    Measured from every vertex and SURFACE_SAMPLES points of each surface to the closest point of the other: a lower bound, close where
    samples are dense. Boxes that differ by more than a diagonal are not sampled: their difference is the bound given. Infinite where a
    surface has no area. Source: Cignoni et al., "Metro: measuring error on simplified surfaces", 1998.
    """
    import trimesh

    used, faces = np.unique(reference.faces.detach().cpu().numpy(), return_inverse=True)
    vertices, faces = reference.vertices.detach().cpu().double().numpy()[used], faces.reshape(-1, 3)
    corners = (vertices[faces], written.vertices[written.faces])
    if not all(trimesh.triangles.area(triangles).any() for triangles in corners):
        return float("inf")
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    own_bounds = np.stack([written.vertices.min(axis=0), written.vertices.max(axis=0)])
    apart = float(np.abs(own_bounds - np.stack([low, high])).max()) / diagonal
    if apart > 1:
        return apart
    own, other = (written.vertices - low) / diagonal, (vertices - low) / diagonal
    return max(_one_sided(own, written.faces, other, faces), _one_sided(other, faces, own, written.faces))


def _one_sided(vertices: np.ndarray, faces: np.ndarray, to_vertices: np.ndarray, to_faces: np.ndarray) -> float:
    """The largest distance from the first surface to the second; every vertex is used by a face."""
    import trimesh

    from dreamfusion_mesh.kernels.trace import closest_point

    samples, _ = trimesh.sample.sample_surface(trimesh.Trimesh(vertices, faces, process=False), SURFACE_SAMPLES, seed=0)
    query, target = torch.from_numpy(np.concatenate([vertices, samples])).float(), torch.from_numpy(to_vertices).float()
    return float(closest_point(query, target, torch.from_numpy(to_faces.astype(np.int64)))[2].max())
