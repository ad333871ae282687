"""Ten surfaces that are hard to make an asset of, as triangles that nobody has looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import trimesh
from surfaces import as_mesh, sphere, torus

from dreamfusion_mesh.records import Mesh


def box(x: float, y: float, z: float, cuts: int) -> Mesh:
    """Its faces are cut in four, `cuts` times."""
    found = trimesh.creation.box([x, y, z])
    for _ in range(cuts):
        found = found.subdivide()
    return as_mesh(found.vertices, found.faces)


def together(parts: Sequence[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    faces = [part.faces + int(start) for part, start in zip(parts, starts, strict=True)]
    return Mesh(torch.cat([part.vertices for part in parts]), torch.cat(faces))


def thin_sheet(cuts: int = 4) -> Mesh:
    """A thousandth as thick as it is wide."""
    return box(1.6, 0.0016, 1.6, cuts)


def needle(subdivisions: int = 4) -> Mesh:
    ball = sphere(subdivisions)
    return Mesh(ball.vertices * torch.tensor([1.0, 0.01, 0.01]), ball.faces)


def cubes() -> Mesh:
    """Four hundred, scattered, many of them in one another."""
    draws = np.random.default_rng(0)
    return together([Mesh(part.vertices * 0.12 + torch.tensor(place).float(), part.faces) for part, place in _scattered(draws, 400)])


def _scattered(draws: np.random.Generator, count: int) -> list[tuple[Mesh, np.ndarray]]:
    return [(box(1, 1, 1, 0), place) for place in draws.uniform(-0.8, 0.8, (count, 3))]


def tetrahedron() -> Mesh:
    points = 0.6 * np.array([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], dtype=float)
    return as_mesh(points, np.array([[0, 2, 1], [0, 3, 2], [0, 1, 3], [1, 2, 3]]))


def sliver() -> Mesh:
    """A tetrahedron five hundred times as long as it is high."""
    solid = tetrahedron()
    return Mesh(solid.vertices * torch.tensor([1.2, 0.05, 0.0024]), solid.faces)


def self_touching() -> Mesh:
    """A ring without a hole: its inner rim is one point."""
    ring = trimesh.creation.torus(0.4, 0.4, 48, 24)
    return as_mesh(np.where(np.abs(ring.vertices) < 1e-9, 0, ring.vertices), ring.faces)


def many_shells() -> Mesh:
    """A ball among forty small ones, in rings around it."""
    places = [(0.95 * np.cos(turn), height, 0.95 * np.sin(turn)) for height in (-0.4, 0.4) for turn in np.arange(20) * 2 * np.pi / 20]
    small = sphere(1)
    return together([sphere(3), *(Mesh(small.vertices * 0.12 + torch.tensor(place).float(), small.faces) for place in places)])


def scaled(by: float) -> Mesh:
    ring = torus()
    return Mesh(ring.vertices * by, ring.faces)


def open_sheet() -> Mesh:
    """A wavy sheet with holes, open at its rim too: it encloses nothing."""
    side = 40
    grid = np.stack(np.meshgrid(np.linspace(-0.8, 0.8, side), np.linspace(-0.8, 0.8, side), indexing="ij"), axis=2).reshape(-1, 2)
    points = np.column_stack([grid[:, 0], 0.1 * np.sin(6 * grid[:, 0]) * np.cos(5 * grid[:, 1]), grid[:, 1]])
    at = np.arange(side * side).reshape(side, side)
    a, b, c, d = (part.reshape(-1) for part in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    middles = grid[faces].mean(axis=1)
    holes = [np.linalg.norm(middles - np.array(center), axis=1) < 0.15 for center in ((0.3, 0.3), (-0.4, 0.1), (0.0, -0.5))]
    return as_mesh(points, faces[~np.any(holes, axis=0)])


def fan() -> Mesh:
    """A ball with sheets on twenty of its edges, which then have three faces each."""
    ball = sphere(4)
    base = ball.faces[::256]
    tips = 1.2 * ball.vertices[base[:, 0]]
    blades = torch.stack([base[:, 0], base[:, 1], len(ball.vertices) + torch.arange(len(base))], dim=1)
    return Mesh(torch.cat([ball.vertices, tips]), torch.cat([ball.faces, blades]))


HOSTILE: dict[str, Callable[[], Mesh]] = {
    "thin sheet": thin_sheet,
    "needle": needle,
    "400 cubes": cubes,
    "one tetrahedron": tetrahedron,
    "sliver": sliver,
    "self-touching": self_touching,
    "many shells": many_shells,
    "huge": partial(scaled, 1e9),
    "tiny": partial(scaled, 1e-9),
    "open sheet with holes": open_sheet,
    "non-manifold fan": fan,
}
