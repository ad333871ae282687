"""Surfaces as the pipeline makes them: distance fields with noise, marched on its lattice, tidied and decimated by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.shape.simplify import decimate
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.marching import marching_tets
from dreamfusion_mesh.shape.tidy import tidy
from dreamfusion_mesh.stages.restore import load_mesh

Sdf = Callable[[Tensor], Tensor]
_REACH = 1.1  # of the lattice
_WAVES = 24


def ball(p: Tensor, center: tuple[float, float, float], radius: float) -> Tensor:
    return (p - p.new_tensor(center)).norm(dim=1) - radius


def box(p: Tensor, center: tuple[float, float, float], half: tuple[float, float, float]) -> Tensor:
    q = (p - p.new_tensor(center)).abs() - p.new_tensor(half)
    return q.clamp_min(0).norm(dim=1) + q.amax(1).clamp_max(0)


def tube(p: Tensor, start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> Tensor:
    a, b = p.new_tensor(start), p.new_tensor(end)
    share = ((p - a) @ (b - a) / (b - a).square().sum()).clamp(0, 1)
    return (p - a - share[:, None] * (b - a)).norm(dim=1) - radius


def union(*parts: Tensor) -> Tensor:
    return torch.stack(parts).amin(0)


def pebble(p: Tensor) -> Tensor:
    return ball(p * p.new_tensor((1.0, 1.3, 0.9)), (0, 0, 0), 0.8) * 0.75


def ring(p: Tensor) -> Tensor:
    return torch.stack([p[:, :2].norm(dim=1) - 0.62, p[:, 2]], 1).norm(dim=1) - 0.24


def snowman(p: Tensor) -> Tensor:
    return union(ball(p, (0, -0.4, 0), 0.5), ball(p, (0, 0.25, 0), 0.36), ball(p, (0, 0.7, 0.05), 0.24))


def table(p: Tensor) -> Tensor:
    legs = [box(p, (x * 0.6, -0.15, z * 0.45), (0.09, 0.55, 0.09)) for x in (-1, 1) for z in (-1, 1)]
    return union(box(p, (0, 0.45, 0), (0.8, 0.09, 0.6)), *legs)


def mug(p: Tensor) -> Tensor:
    across = p[:, [0, 2]].norm(dim=1)
    outer, inner = torch.maximum(across - 0.55, p[:, 1].abs() - 0.7), torch.maximum(across - 0.42, -0.55 - p[:, 1])
    handle = torch.stack([(p[:, :2] - p.new_tensor((0.58, 0.0))).norm(dim=1) - 0.34, p[:, 2]], 1).norm(dim=1) - 0.09
    return torch.maximum(union(outer, handle), -inner)


def cactus(p: Tensor) -> Tensor:
    arms = [tube(p, (0, y, 0), (s * 0.45, y, 0), 0.11) for s, y in ((1, 0.0), (-1, -0.2))]
    tips = [tube(p, (s * 0.45, y, 0), (s * 0.45, y + 0.5, 0), 0.12) for s, y in ((1, 0.0), (-1, -0.2))]
    return union(tube(p, (0, -0.8, 0), (0, 0.75, 0), 0.2), *arms, *tips)


def knot(p: Tensor) -> Tensor:
    """A trefoil, as balls on its line."""
    t = torch.linspace(0, 2 * torch.pi, 161)[:-1]
    line = torch.stack([t.sin() + 2 * (2 * t).sin(), t.cos() - 2 * (2 * t).cos(), -(3 * t).sin()], 1) * 0.27
    return torch.cdist(p, line.to(p)).amin(1) - 0.15


def sponge(p: Tensor) -> Tensor:
    """A ball cut by a gyroid: many handles."""
    s, c = (5.5 * p).sin(), (5.5 * p).cos()
    gyroid = (s * c.roll(-1, 1)).sum(1).abs() - 0.45
    return torch.maximum(ball(p, (0, 0, 0), 0.85), gyroid / 5.5)


SHAPES: tuple[Sdf, ...] = (pebble, ring, snowman, table, mug, cactus, knot, sponge)
NOISES = {"smooth": (0.0, 0.0), "dented": (0.03, 0.0), "rough": (0.02, 0.006)}  # of waves, and of each lattice vertex, scene units


def marched(shape: Sdf, waves: float, grain: float, cells: int, seed: int) -> Mesh:
    """The zero level of `shape` with noise on a lattice of `cells` a side."""
    grid = tet_lattice(torch.full((3,), -_REACH), torch.full((3,), _REACH), cells).grid()
    draws = torch.Generator().manual_seed(seed)
    directions, phases = 9 * torch.randn(3, _WAVES, generator=draws), 6.28 * torch.rand(_WAVES, generator=draws)
    rows = grid.vertices.split(1 << 16)
    sdf = torch.cat([shape(p) + waves * (p @ directions + phases).sin().sum(1) / (_WAVES / 2) ** 0.5 for p in rows])
    return marching_tets(grid.vertices, sdf + grain * torch.randn(len(sdf), generator=draws), grid)


def made(triangles: int, cells: int) -> Iterator[tuple[str, Mesh]]:
    """Each of SHAPES with each of NOISES, tidied and decimated to `triangles`."""
    for index, shape in enumerate(SHAPES):
        for name in NOISES:
            yield f"{shape.__name__} {name}", _reduced(shape, name, cells, index, triangles)


def made_fine(triangles: int, cells: int) -> Iterator[tuple[str, Mesh]]:
    """A few of them on a finer lattice."""
    for shape, name in ((sponge, "smooth"), (mug, "dented"), (knot, "rough"), (pebble, "rough")):
        yield f"{shape.__name__} {name} {triangles // 1000}k", _reduced(shape, name, cells, SHAPES.index(shape), triangles)


def _reduced(shape: Sdf, noise: str, cells: int, seed: int, triangles: int) -> Mesh:
    return _decimated(tidy(marched(shape, *NOISES[noise], cells, seed), MeshSettings()).mesh, triangles)


def of_run(folder: Path, triangles: int) -> Mesh:
    """The refined surface of a finished run, decimated to `triangles`."""
    return _decimated(RunFolder(folder).restore("reference", lambda state: load_mesh(state, "", 2.0)), triangles)


def _decimated(mesh: Mesh, triangles: int) -> Mesh:
    return decimate(mesh, triangles, MeshSettings().max_deviation).mesh
