"""Row 11: do the levels of detail shrink as they should, on the asset's own texture, and stay near enough?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from dreamfusion_mesh.audit.distance import as_mesh, barycentric, has_area, hausdorff, surface_samples
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.audit.siblings import Level
from dreamfusion_mesh.config import AuditSettings

SCREEN = 1080  # pixels that the whole object is high where the asset itself is shown; half as many for each level
SAMPLES = 20_000  # points of each surface
SAME_PLACE = 1 / 32  # of the UV square: a level's UV and the asset's at one place of the surface are at most this far apart
SHARE_AT_SAME_PLACE = 0.9  # of a level's surface; beside a seam the nearest point may lie in another chart


@dataclass(frozen=True)
class LevelFigures:
    """One level: its triangles over those of the level before, its largest error in pixels where it is shown, and what is wrong with its
    material and its UVs.
    """

    triangles: int
    ratio: float
    pixels: float
    problems: tuple[str, ...]


def levels_row(written: Written, levels: list[Level], settings: AuditSettings) -> Row:
    """Row 11. The error is the Hausdorff distance to the asset where its longest side is 1080 / 2^n pixels, for level n."""
    if not levels:
        return unmeasured_row(11, "there are no levels of detail, neither in the file nor as NAME_LOD1.glb beside it")
    if not all(has_area(surface.vertices, surface.faces) for surface in (written, *(level.written for level in levels))):
        return measured_row(11, {}, ["a surface has no area"])
    before, measured, problems = len(written.faces), dict[str, float | int | str](), list[str]()
    low, high = settings.lod_ratio
    for number, level in enumerate(levels, start=1):
        found = measure_level(written, level.written, number, before)
        figures: Figures = {"triangles": found.triangles, "ratio": found.ratio, "error px": found.pixels}
        measured |= {f"LOD{number} {name}": value for name, value in figures.items()}
        if not low <= found.ratio <= high:
            problems.append(f"{level.name}: {found.ratio:.3g} of the triangles before it, expected {low:g} to {high:g}")
        if not found.pixels <= settings.lod_pixels:
            shown = f"where the asset is {SCREEN / 2**number:g} px high"
            problems.append(f"{level.name}: {found.pixels:.3g} px from the asset {shown}, at most {settings.lod_pixels:g}")
        problems += [f"{level.name}: {problem}" for problem in found.problems]
        before = found.triangles
    return measured_row(11, measured, problems)


def measure_level(written: Written, level: Written, number: int, before: int) -> LevelFigures:
    """Measure level `number` of an asset, whose level before has `before` triangles."""
    low, high = written.vertices.min(axis=0), written.vertices.max(axis=0)
    diagonal, side = float(np.linalg.norm(high - low)), float((high - low).max())
    distance = hausdorff(level, as_mesh(written.vertices, written.faces), SAMPLES) * diagonal / side
    problems = (*_material_problems(written, level), *_uv_problems(written, level))
    return LevelFigures(len(level.faces), len(level.faces) / before, distance * SCREEN / 2**number, problems)


def _material_problems(written: Written, level: Written) -> list[str]:
    """What differs between the images that both materials read. An OBJ has other maps than a glTF: those of common roles are compared."""
    own, other = written.materials, level.materials
    if own is None or other is None:
        return []
    if (own.count, other.count) != (1, 1):
        return [f"{other.count} materials, the asset has {own.count}"] if own.count != other.count or other.count > 1 else []
    images = [{entry.role: hashlib.sha256(entry.data).digest() for entry in materials.maps} for materials in (own, other)]
    roles = images[0].keys() | images[1].keys() if written.kind == level.kind else images[0].keys() & images[1].keys()
    changed = sorted(role for role in roles if images[0].get(role) != images[1].get(role))
    return [f"its {', '.join(changed)} texture is not the asset's"] if changed else []


def _uv_problems(written: Written, level: Written) -> list[str]:
    if written.corner_uvs is None:
        return []
    if level.corner_uvs is None:
        return ["there are no UVs"]
    outside = int(((level.corner_uvs < 0) | (level.corner_uvs > 1)).any(axis=2).sum())
    if outside:
        return [f"{outside} corners' UVs leave the square"]
    share = _share_at_same_place(written, level)
    return [f"{share:.1%} of it has the asset's UVs, at least {SHARE_AT_SAME_PLACE:.0%}"] if share < SHARE_AT_SAME_PLACE else []


def _share_at_same_place(written: Written, level: Written) -> float:
    """Share of the level's surface whose UV is, within SAME_PLACE, that of the nearest point of the asset."""
    from dreamfusion_mesh.kernels.trace import closest_point

    assert written.corner_uvs is not None
    assert level.corner_uvs is not None
    low, size = written.vertices.min(axis=0), np.ptp(written.vertices, axis=0).max()
    points, faces, weights = surface_samples((level.vertices - low) / size, level.faces, SAMPLES)
    vertices = (written.vertices - low) / size
    nearest, found, _ = closest_point(*(torch.from_numpy(values).float() for values in (points, vertices)), torch.from_numpy(written.faces))
    shares = barycentric(nearest.double().numpy(), vertices[written.faces[found.numpy()]])
    own = np.einsum("nc,ncd->nd", shares, written.corner_uvs[found.numpy()])
    other = np.einsum("nc,ncd->nd", weights, level.corner_uvs[faces])
    return float((np.linalg.norm(own - other, axis=1) <= SAME_PLACE).mean())
