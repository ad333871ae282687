"""A surface with UVs as edge collapses change it: positions and UVs under their own indices, edges, and what may move."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from dreamfusion_mesh.asset.lod.quadrics import UV_WEIGHT, border_quadrics, face_quadrics
from dreamfusion_mesh.geometry.areas import cross_2d
from dreamfusion_mesh.geometry.topology import distinct_rows, edge_keys
from dreamfusion_mesh.records import Mesh

FREE, SEAM, FIXED = 0, 1, 2  # how a vertex may move: anywhere, along its seam, not at all


@dataclass(eq=False)
class Surface:
    """A triangle surface in a box whose diagonal is 1, cut along UV seams into charts; collapses change it in place.

    A wedge is a vertex as one chart sees it: a vertex on a seam between two charts has two.
    points    [V, 3] float64
    uvs       [W, 2] float64  of wedges, scaled so that areas equal those in space
    faces     [F, 3] int64    rows of `points`
    wedges    [F, 3] int64    rows of `uvs`
    quadrics  [W, 31]         squared distances to the original surface, see quadrics.py
    stamps    [V] int64       anew whenever something next to the vertex changes
    """

    points: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray
    wedges: np.ndarray
    quadrics: np.ndarray
    stamps: np.ndarray

    def drop_unused(self) -> None:
        """Forget the rows that no face uses."""
        used, faces = np.unique(self.faces, return_inverse=True)
        self.points, self.stamps, self.faces = self.points[used], self.stamps[used], faces.reshape(-1, 3)
        used, wedges = np.unique(self.wedges, return_inverse=True)
        self.uvs, self.quadrics, self.wedges = self.uvs[used], self.quadrics[used], wedges.reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class Frame:
    """How a Surface lies in its mesh's space: vertex = point * diagonal + low, and its UVs in the square: uv = wedge uv / scale."""

    low: np.ndarray
    diagonal: float
    scale: float


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges with two faces that run along them in opposite directions, the ends ordered so that `kept` moves least freely.

    kept, lost  [E]        rows of `points`: a collapse leaves the first
    wedges      [E, 2, 2]  rows of `uvs`: of the two sides, of the two ends
    faces       [E, 2]     on the two sides
    opposite    [E, 2]     the third corners of those
    seam        [E] bool   the sides lie in different charts
    move        [V]        FREE, SEAM or FIXED
    valence     [V]        edges at each vertex
    """

    kept: np.ndarray
    lost: np.ndarray
    wedges: np.ndarray
    faces: np.ndarray
    opposite: np.ndarray
    seam: np.ndarray
    move: np.ndarray
    valence: np.ndarray


def surface_of(mesh: Mesh, frame: Frame | None = None) -> tuple[Surface, Frame]:
    """The mesh, welded by position, as a Surface; in the box of `frame`, or its own.

    Raises ValueError where it has no UVs, no extent, no area in space or UV, or values that are not finite.
    """
    points, faces, uvs, wedges = _welded(mesh)
    if frame is None:
        low = points.min(axis=0, initial=np.inf)
        frame = Frame(low, float(np.linalg.norm(points.max(axis=0, initial=-np.inf) - low)), 1.0)
    if not (np.isfinite(uvs).all() and 0 < frame.diagonal < np.inf):
        raise ValueError(f"lod: {len(faces)} faces, diagonal {frame.diagonal:.4g}, expected finite uvs and a finite diagonal above 0")
    points = (points - frame.low) / frame.diagonal
    area, flat_area = np.linalg.norm(area_vectors(points, faces), axis=1).sum(), np.abs(uv_cross(uvs[wedges])).sum()
    if not (area > 0 and flat_area > 0):
        raise ValueError(f"lod: surface area {area / 2:.4g}, uv area {flat_area / 2:.4g}, expected both above 0")
    frame = replace(frame, scale=float(np.sqrt(area / flat_area)))
    surface = Surface(points, uvs * frame.scale, faces, wedges, np.zeros((len(uvs), 31)), np.arange(len(points)))
    _add_quadrics(surface)
    return surface, frame


def _welded(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, faces, UVs and wedges: each position is one point, each UV at a point one wedge."""
    if mesh.uvs is None or mesh.face_uvs is None:
        raise ValueError("lod: the mesh has no uvs; unwrap it first")
    points, faces = distinct_rows(mesh.vertices.detach().cpu().double(), mesh.faces.cpu())
    corner_uvs = mesh.uvs.detach().cpu().double()[mesh.face_uvs.cpu().reshape(-1)]
    rows, wedges = torch.cat([faces.reshape(-1, 1), corner_uvs], dim=1).unique(dim=0, return_inverse=True)
    return points.numpy(), faces.numpy(), rows[:, 1:].numpy(), wedges.reshape(-1, 3).numpy()


def area_vectors(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F, 3] along the faces' normals, twice as long as their areas."""
    a, b, c = points[faces].transpose(1, 0, 2)
    return np.cross(b - a, c - a)


def find_edges(surface: Surface) -> Edges:
    """The surface's edges as they are now."""
    vertices, faces, wedges = len(surface.points), surface.faces, surface.wedges
    keys, forward = edge_keys(torch.from_numpy(faces), vertices)
    order = np.argsort(keys.numpy().reshape(-1), kind="stable")
    key, ahead = keys.numpy().reshape(-1)[order], forward.numpy().reshape(-1)[order]
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    uses = np.diff(np.append(first, len(key)))
    proper = uses == 2
    proper[proper] = ahead[first[proper]] != ahead[first[proper] + 1]
    one, other = order[first[proper]], order[first[proper] + 1]
    start, end, third = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1), np.roll(faces, -2, axis=1).reshape(-1)
    begin, finish = wedges.reshape(-1), np.roll(wedges, -1, axis=1).reshape(-1)
    sides = np.stack([np.stack([begin[one], finish[one]], 1), np.stack([finish[other], begin[other]], 1)], axis=1)
    seam = (sides[:, 0] != sides[:, 1]).any(axis=1)
    improper = np.divmod(key[first[~proper]], vertices)
    move = _freedom(surface, np.stack([start[one], end[one]])[:, seam].reshape(-1), np.concatenate(improper))
    swap = move[end[one]] > move[start[one]]
    kept, lost = np.where(swap, end[one], start[one]), np.where(swap, start[one], end[one])
    sides = np.where(swap[:, None, None], sides[:, :, ::-1], sides)
    valence = np.bincount(np.concatenate(np.divmod(key[first], vertices)), minlength=vertices)
    return Edges(kept, lost, sides, np.stack([one, other], 1) // 3, np.stack([third[one], third[other]], 1), seam, move, valence)


def _freedom(surface: Surface, seam_ends: np.ndarray, improper_ends: np.ndarray) -> np.ndarray:
    """[V] FREE inside a chart, SEAM where just two charts' sides meet along a line, FIXED at corners of seams and open borders."""
    vertices, width = len(surface.points), len(surface.uvs)
    pairs = np.unique(surface.faces.reshape(-1) * width + surface.wedges.reshape(-1))
    wedges, seams = np.bincount(pairs // width, minlength=vertices), np.bincount(seam_ends, minlength=vertices)
    move = np.where((seams == 0) & (wedges == 1), FREE, np.where((seams == 2) & (wedges == 2), SEAM, FIXED))
    move[improper_ends] = FIXED
    return move


def uv_cross(corners: np.ndarray) -> np.ndarray:
    """[F] twice the signed areas of UV triangles [F, 3, 2]."""
    return cross_2d(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _add_quadrics(surface: Surface) -> None:
    """Each face's quadric at its corners, and those of chart borders at the ends of seams."""
    corners = np.concatenate([surface.points[surface.faces], UV_WEIGHT * surface.uvs[surface.wedges]], axis=2)
    of_faces = face_quadrics(corners)
    for corner in range(3):
        np.add.at(surface.quadrics, surface.wedges[:, corner], of_faces / 3)
    edges = find_edges(surface)
    for side in range(2):
        ends = edges.wedges[edges.seam, side]
        of_borders = border_quadrics(surface.uvs[ends])
        for end in range(2):
            np.add.at(surface.quadrics, ends[:, end], of_borders / 2)
