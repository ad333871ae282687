"""Collision hulls: a few convex solids, of few corners each, that stand for the mesh in a physics engine."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from dreamfusion_mesh.asset.collision.coacd_worker import decompose
from dreamfusion_mesh.asset.collision.convex import Hull, closed_solid, hull_of, merged, union_volume, with_fewer_corners
from dreamfusion_mesh.geometry.samples import spread_points
from dreamfusion_mesh.geometry.topology import shells, weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.worker import WorkerFailed, run_worker

Method = Literal["one hull", "coacd", "shells", "none"]

MOST_CORNERS = 32  # of a hull; what physics engines take

_log = logging.getLogger(__name__)

_COVERAGE, _REACH, _VOLUME = 0.985, 0.008, 1.13  # wanted: a little more than the audit's .98 within .01 and 1.15
_AUDITED_COVERAGE, _AUDITED_VOLUME = 0.98, 1.15
_ONE_HULL = 1.05  # times the mesh's volume: what is convex up to this needs no decomposition
_LEFT_OUT = (0.0, 0.004, 0.008)  # of the diagonal: layers that hulls may leave out, where they would be too large otherwise
_SAMPLES = 20_000
_TRIES = ((0.01, 0.1, 20, 10), (0.005, 0.05, 20, 10), (0.003, 0.02, 60, 20))  # ever finer: simplification, concavity, iterations, nodes
_MOST_TRIANGLES = 2500  # that are decomposed, where a simplification up to _COARSEST gets there
_COARSEST = 0.02
_MOST_GROUPS = 1000  # that are merged pair by pair


@dataclass(frozen=True)
class HullNotes:
    """How the hulls came out.

    method    "one hull", "coacd", or "shells" where that failed: a hull for each shell, near ones merged; "none" where none were asked for
    hulls, corners  how many, and of the one that has most
    coverage  share of the surface inside a hull or within .008 of the diagonal
    volume    of the hulls' union over the mesh's own; None where that is not closed
    """

    method: Method
    hulls: int
    corners: int
    coverage: float
    volume: float | None


@dataclass(frozen=True, eq=False)
class Collision:
    """Convex, closed hulls in the mesh's space, notes of them, and lines for the user."""

    hulls: tuple[Mesh, ...]
    notes: HullNotes
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Shape:
    """The mesh in a box whose diagonal is 1, as manifold3d's solid where it is closed, with samples of its surface."""

    points: np.ndarray
    faces: np.ndarray
    solid: Any | None
    samples: np.ndarray


@dataclass(frozen=True, eq=False)
class _Fit:
    hulls: list[Hull]
    coverage: float
    volume: float | None

    @property
    def shortfall(self) -> float:
        """How far from what is wanted; 0 where it is had."""
        return max(0.0, _COVERAGE - self.coverage) + max(0.0, (self.volume or 0.0) - _VOLUME)


def collision_hulls(mesh: Mesh, most: int, seconds: float) -> Collision:
    """At most `most` convex hulls of at most MOST_CORNERS corners that cover the mesh and hold little more than its volume.

    coacd cuts the mesh in a process of its own, which is killed after `seconds` in all; hulls are then made to contain the mesh with few
    corners, or nearly so where that would make them too large. It is called up to three times, ever finer. Where it fails or time runs out,
    there is what it gave by then, or a hull for each shell, near ones merged; and a warning. The same input gives the same bits where time
    does not run out. On the mesh's device, in its precision.
    Raises ValueError where the mesh has no extent, or values that are not finite.
    """
    if most == 0:
        return Collision((), HullNotes("none", 0, 0, 0.0, None), ())
    shape, low, diagonal = _shape_of(mesh)
    method, fit, told = _fitted(shape, most, seconds)
    notes = HullNotes(method, len(fit.hulls), max(len(hull.points) for hull in fit.hulls), fit.coverage, fit.volume)
    warnings = [f"collision: {told}"] if told else []
    if fit.coverage < _AUDITED_COVERAGE or (fit.volume or 0.0) > _AUDITED_VOLUME:
        held = "an open surface" if fit.volume is None else f"{fit.volume:.3g} times its volume"
        found = f"{notes.hulls} of at most {most} hulls cover {fit.coverage:.1%} of the surface and hold {held}"
        remedy = "; raise asset.collision_hulls" if notes.hulls == most else ""
        warnings.append(f"collision: {found}; {_AUDITED_COVERAGE:.0%} and {_AUDITED_VOLUME:g} are wanted{remedy}")
    for line in warnings:
        _log.warning("%s", line)
    return Collision(tuple(_to_mesh(hull, low, diagonal, mesh) for hull in fit.hulls), notes, tuple(warnings))


def _fitted(shape: _Shape, most: int, seconds: float) -> tuple[Method, _Fit, str]:
    """Hulls, how they came about, and what there is to tell where coacd did not do all that was called for."""
    whole = hull_of(shape.points)
    convex = whole.thickened or (shape.solid is not None and whole.volume <= _ONE_HULL * shape.solid.volume())
    if convex or most == 1:  # that is what any decomposition into one part comes to
        return "one hull", _fit(shape, [shape.points]), ""
    shell = shells(torch.from_numpy(shape.faces)).numpy()
    if shell.max() >= most:
        told = f"there are {shell.max() + 1} shells; near ones share a hull, so that there are {most}; raise asset.collision_hulls"
        return "shells", _fit(shape, _by_shell(shape, shell, most)), told
    best, failure = _by_coacd(shape, most, seconds)
    if best is not None:
        return "coacd", best, f"{failure}; a coarser decomposition is used instead" if failure else ""
    instead = f"a hull for each shell instead, near ones merged where there are over {most}"
    return "shells", _fit(shape, _by_shell(shape, shell, most)), f"{failure}; {instead}"


def _by_coacd(shape: _Shape, most: int, seconds: float) -> tuple[_Fit | None, str]:
    """The first of _TRIES that gives what is wanted, or else the best; and why they ended early, which no try may have survived."""
    best, deadline = None, time.monotonic() + seconds
    for settings in _TRIES:
        try:
            found = _fit(shape, _decomposed(shape, most, deadline - time.monotonic(), settings))
        except WorkerFailed as problem:
            late = time.monotonic() >= deadline
            return best, f"coacd was not done after {seconds:g} s; raise asset.collision_seconds" if late else str(problem)
        if best is None or found.shortfall < best.shortfall:
            best = found
        if best.shortfall == 0:
            break
    return best, ""


def _shape_of(mesh: Mesh) -> tuple[_Shape, np.ndarray, float]:
    """The shape, and how it lies in the mesh's space: vertex = point * diagonal + low."""
    welded = weld(Mesh(mesh.vertices.detach().cpu().double(), mesh.faces.cpu()))
    points, faces = welded.vertices.numpy(), welded.faces.numpy()
    low = points.min(axis=0, initial=np.inf)
    diagonal = float(np.linalg.norm(points.max(axis=0, initial=-np.inf) - low))
    if not 0 < diagonal < np.inf:
        raise ValueError(f"collision: {len(faces)} faces with a diagonal of {diagonal:.4g}, expected a finite length above 0")
    points = (points - low) / diagonal
    spread, _ = spread_points(torch.from_numpy(points), welded.faces, _SAMPLES)
    return _Shape(points, faces, closed_solid(points, faces), np.concatenate([points, spread.numpy()])), low, diagonal


def _decomposed(shape: _Shape, most: int, seconds: float, settings: tuple[float, float, int, int]) -> list[np.ndarray]:
    """The points of at most `most` nearly convex parts. Raises WorkerFailed."""
    simplification, concavity, iterations, nodes = settings
    points, faces = _simplified(shape, simplification)
    counts = np.array([most, iterations, nodes, shape.solid is None])
    found, sizes = run_worker(decompose, (points, faces.astype(np.int32), counts, np.array(concavity)), max(0.0, seconds), "coacd")
    whole = found.shape == (int(sizes.sum()), 3) and np.isfinite(found).all()
    if not (whole and 0 < len(sizes) <= most and (sizes > 0).all()):
        raise WorkerFailed(f"coacd gave {len(sizes)} hulls of {len(found)} points, expected 1 to {most}")
    return np.split(found, np.cumsum(sizes)[:-1])


def _simplified(shape: _Shape, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The shape in few triangles, within `tolerance` of the diagonal or the least above it that gets there."""
    while shape.solid is not None and tolerance < _COARSEST:
        simple = shape.solid.simplify(tolerance)
        if 0 < simple.num_tri() <= _MOST_TRIANGLES and simple.volume() > 0:
            arrays = simple.to_mesh64()
            return np.array(arrays.vert_properties)[:, :3], np.array(arrays.tri_verts)
        tolerance *= 1.5
    return shape.points, shape.faces


def _by_shell(shape: _Shape, shell: np.ndarray, most: int) -> list[np.ndarray]:
    """The points of each shell, near shells together where there are more than `most`."""
    order = np.argsort(shell, kind="stable")
    groups = [shape.points[np.unique(shape.faces[rows])] for rows in np.split(order, np.cumsum(np.bincount(shell))[:-1])]
    if len(groups) > _MOST_GROUPS:  # in the order of a coarse grid's cells
        cells = np.floor(np.stack([group.mean(axis=0) for group in groups]) * 16).astype(np.int64)
        groups = [groups[index] for index in np.lexsort(cells.T)]
        groups = [np.concatenate(groups[rows[0] : rows[-1] + 1]) for rows in np.array_split(np.arange(len(groups)), _MOST_GROUPS)]
    return merged(groups, most)


def _fit(shape: _Shape, groups: list[np.ndarray]) -> _Fit:
    """Hulls of few corners around groups of points: around the whole surface too, or else as much of it as their volume allows."""
    best: _Fit | None = None
    exact = [hull_of(group) for group in groups]
    for left_out in (None, *_LEFT_OUT):
        around = exact if left_out is not None else _around_all(shape, exact)
        hulls = [with_fewer_corners(hull, MOST_CORNERS, left_out or 0.0) for hull in around]
        outside = np.min([hull.outside(shape.samples) for hull in hulls], axis=0)
        volume = union_volume(hulls) / shape.solid.volume() if shape.solid is not None else None
        found = _Fit(hulls, float((outside <= _REACH).mean()), volume)
        if best is None or found.shortfall < best.shortfall:
            best = found
        if best.shortfall == 0:
            break
    assert best is not None
    return best


def _around_all(shape: _Shape, hulls: list[Hull]) -> list[Hull]:
    """The hulls with the surface's points that are in none of them added to the nearest."""
    outside = np.stack([hull.outside(shape.points) for hull in hulls])
    strays = np.where(outside.min(axis=0) > 0, outside.argmin(axis=0), -1)
    return [hull_of(np.concatenate([hull.points, shape.points[strays == index]])) for index, hull in enumerate(hulls)]


def _to_mesh(hull: Hull, low: np.ndarray, diagonal: float, like: Mesh) -> Mesh:
    vertices = torch.from_numpy(hull.points * diagonal + low)
    return Mesh(vertices.to(like.vertices.dtype), torch.from_numpy(hull.faces)).to(like.vertices.device)
