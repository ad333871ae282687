"""Levels of detail: the asset's mesh with half the triangles again and again, on the same material and atlas where that holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dreamfusion_mesh.asset.lod.collapse import collapse
from dreamfusion_mesh.asset.lod.deviation import Original
from dreamfusion_mesh.asset.lod.surface import Frame, Surface, area_vectors, surface_of, uv_cross
from dreamfusion_mesh.asset.uv.charts import Charts, overlapping
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.deviation import deviation_from
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Lod, Material, Mesh

Remake = Callable[[Mesh, int], Lod]  # a mesh and the triangles wanted of it: a level with an atlas of its own

SHOWN = 1080  # pixels: level n is shown where the asset's longest side has this many / 2^n, or fewer

_log = logging.getLogger(__name__)

_REMEDY = "lower asset.lods, or raise mesh.triangles or audit.lod_pixels"
_RATIO, _MOST = 0.5, 0.64  # triangles of a level over those of the one before: wanted, and allowed where the shape suffers
_MARGIN = 0.9  # of the error allowed, that samples may show: they miss the farthest point
_RELAXED = 1.5  # times the error, where a level would keep too many triangles
_NEAREST, _FARTHEST = 1e-4, 0.1  # of the diagonal: where relaxing begins at the least, and what is farther off is no level of this shape


@dataclass(frozen=True)
class LodNote:
    """How a level came out.

    triangles   of the level
    ratio       of those of the level before
    atlas       "shared" with the asset, or its "own"
    deviation   from the asset's mesh: Hausdorff distance, of its diagonal
    pixels      the same where the level is first shown: on an asset whose longest side has 1080 / 2^n pixels
    density     texels per area, of the asset's own, in UV units
    """

    triangles: int
    ratio: float
    atlas: str
    deviation: float
    pixels: float
    density: float


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels of detail below the asset itself, from the finest on, a note of each, and lines for the user."""

    lods: tuple[Lod, ...]
    notes: tuple[LodNote, ...]
    warnings: tuple[str, ...]


def make_lods(mesh: Mesh, material: Material, count: int, remake: Remake, pixels: float = 1.0) -> Levels:
    """`count` levels of detail of a mesh with UVs, each with half the triangles of the one before (up to .64 where the shape needs it).

    Edges are collapsed over positions and UVs together, along seams in both charts at once, within `pixels` of the original where level n
    is shown; where half the triangles cannot be had so near, the level is as near as .64 of them allow, and a warning says how far it is. A
    level that cannot be had on the same atlas at all (too many seams, mirrored or overlapping UVs) is `remake`'s. There are fewer levels
    than `count` where that fails too. On the mesh's device; the same input gives the same bits.
    Raises ValueError where the mesh has no UVs, no area in space or UV, or values that are not finite.
    """
    current = _Current(*surface_of(mesh), material, "shared")
    original, faults, away_from = Original(current.surface), _faults(mesh), deviation_from(_on_cpu(mesh))
    side, density, before = float(np.ptp(current.surface.points, axis=0).max()), current.density(), len(current.surface.faces)
    lods, notes, warnings = list[Lod](), list[LodNote](), list[str]()
    for level in range(1, count + 1):
        _reduce(current.surface, original, before, pixels * 2**level / SHOWN * side)
        lod = Lod(_to_mesh(current.surface, current.frame, mesh), current.material)
        problem = _problem(lod.mesh, before, faults)
        if problem:
            try:
                lod = current.remade(remake(mesh, int(before * _RATIO)))
            except RunFailed as error:
                warnings.append(f"lods: {level - 1} instead of {count}: level {level}: {problem}; {error}")
                break
            warnings.append(f"lods: level {level} has an atlas of its own: {problem}")
        away, triangles = away_from(_on_cpu(lod.mesh)), len(lod.mesh.faces)
        notes.append(
            LodNote(triangles, triangles / before, current.atlas, away, away / side * SHOWN / 2**level, current.density() / density)
        )
        lods.append(lod)
        before = triangles
    warnings += [_far_off(level, note, pixels) for level, note in enumerate(notes, start=1) if note.pixels > pixels]
    for line in warnings:
        _log.warning("%s", line)
    return Levels(tuple(lods), tuple(notes), tuple(warnings))


@dataclass
class _Current:
    """The level at hand, which the next one is reduced from."""

    surface: Surface
    frame: Frame
    material: Material
    atlas: str

    def remade(self, lod: Lod) -> Lod:
        """Go on from a level with an atlas of its own."""
        self.surface, self.frame = surface_of(lod.mesh, self.frame)
        self.material, self.atlas = lod.material, "own"
        return lod

    def density(self) -> float:
        """UV area over area in space."""
        flat = uv_cross(self.surface.uvs[self.surface.wedges]).sum() / self.frame.scale**2
        return float(flat / np.linalg.norm(area_vectors(self.surface.points, self.surface.faces), axis=1).sum())


def _far_off(level: int, note: LodNote, pixels: float) -> str:
    shown = f"where its longest side has {SHOWN / 2**level:g}"
    return f"lods: level {level} ({note.triangles} triangles) is {note.pixels:.2g} pixels off {shown}, at most {pixels:g} wanted; {_REMEDY}"


def _on_cpu(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices.detach().cpu(), mesh.faces.cpu())


def _reduce(surface: Surface, original: Original, before: int, tolerance: float) -> None:
    """Half of `before` triangles where that is as near as wanted, else as near as _MOST of them are."""
    tolerance *= _MARGIN
    collapse(surface, original, int(before * _RATIO), tolerance)
    while len(surface.faces) > before * _MOST and tolerance < _FARTHEST:
        tolerance = max(_RELAXED * tolerance, _NEAREST)
        collapse(surface, original, int(before * _MOST), tolerance)


def _to_mesh(surface: Surface, frame: Frame, like: Mesh) -> Mesh:
    """In the space, precision and on the device of `like`."""
    vertices, uvs = torch.from_numpy(surface.points * frame.diagonal + frame.low), torch.from_numpy(surface.uvs / frame.scale)
    dtype, device = like.vertices.dtype, like.vertices.device
    return Mesh(vertices.to(dtype), torch.from_numpy(surface.faces), uvs.to(dtype), torch.from_numpy(surface.wedges)).to(device)


@dataclass(frozen=True)
class _Faults:
    surface: int
    flipped: int
    overlaps: bool


def _faults(mesh: Mesh) -> _Faults:
    assert mesh.uvs is not None
    assert mesh.face_uvs is not None
    uvs, wedges = mesh.uvs.detach().cpu().double().numpy(), mesh.face_uvs.cpu().numpy()
    flipped = int((uv_cross(uvs[wedges]) <= 0).sum())
    overlaps = bool(overlapping(Charts(uvs, wedges, np.zeros(len(wedges), dtype=np.int64))).any())
    return _Faults(soundness(weld(mesh)).faults, flipped, overlaps)


def _problem(mesh: Mesh, before: int, allowed: _Faults) -> str:
    """Why a level cannot be used; empty where it can."""
    if len(mesh.faces) > before * _MOST:
        return f"{len(mesh.faces)} of {before} triangles cannot be spared on the asset's atlas"
    found = _faults(mesh)
    if found.surface > allowed.surface:
        return f"on the asset's atlas the surface is not sound ({soundness(weld(mesh))})"
    if found.flipped > allowed.flipped:
        return f"on the asset's atlas {found.flipped} faces are mirrored"
    return "on the asset's atlas charts overlap" if found.overlaps and not allowed.overlaps else ""
