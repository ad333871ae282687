"""Surfaces that unwrapping, baking and export are tried on; vertices float32, faces int64."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import trimesh

from dreamfusion_mesh.records import Mesh


def as_mesh(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    return Mesh(torch.tensor(vertices, dtype=torch.float32), torch.tensor(faces, dtype=torch.int64))


def cube() -> Mesh:
    box = trimesh.creation.box()
    return as_mesh(box.vertices, box.faces)


def sphere(subdivisions: int = 3) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.8)
    return as_mesh(ball.vertices, ball.faces)


def torus(large: int = 48, small: int = 24) -> Mesh:
    ring = trimesh.creation.torus(0.6, 0.25, large, small)
    return as_mesh(ring.vertices, ring.faces)


@lru_cache(maxsize=1)
def blob() -> Mesh:
    """Three balls grown together under noise, cut from a tetrahedral grid as the pipeline's surfaces are: about 5,000 uneven triangles."""
    import manifold3d

    draws = np.random.default_rng(0)
    waves, phases = draws.normal(size=(12, 3)) * 4, draws.uniform(0, 6.28, 12)
    centres, radii = np.array([[0, 0, 0], [0.35, 0.3, 0], [-0.4, -0.3, 0.2]]), np.array([0.55, 0.35, 0.3])

    def inside(x: float, y: float, z: float) -> float:
        point = np.array([x, y, z])
        return float(-(np.linalg.norm(point - centres, axis=1) - radii).min() - 0.6 * np.sin(waves @ point + phases).mean())

    found = manifold3d.Manifold.level_set(inside, [-1.1, -1.1, -1.1, 1.1, 1.1, 1.1], 0.075, 0.0).to_mesh()
    welded = trimesh.Trimesh(np.asarray(found.vert_properties)[:, :3].astype(np.float32), np.asarray(found.tri_verts), process=True)
    return as_mesh(welded.vertices, welded.faces)


SURFACES = {"cube": cube, "sphere": sphere, "torus": torus, "blob": blob}
