"""Row 11: do the levels of detail shrink as they should, on the asset's own texture, and stay near enough?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.angles import geometric_normals
from dreamfusion_mesh.audit.distance import as_mesh, barycentric, has_area, hausdorff, nearest_points, surface_samples
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
    material, its UVs and how it is shaded.
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
    problems = (*_material_problems(written, level), *_shading_problems(written, level))
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
    problems = [f"its {', '.join(changed)} texture is not the asset's"] if changed else []
    return problems + [f"its {name} is not the asset's" for name in sorted(own.factors) if own.factors[name] != other.factors.get(name)]


def _shading_problems(written: Written, level: Written) -> list[str]:
    """Faces, normals, tangents and UVs that are not the asset's at the same place of the surface."""
    problems = []
    if written.corner_uvs is not None and level.corner_uvs is not None:
        outside = int(((level.corner_uvs < 0) | (level.corner_uvs > 1)).any(axis=2).sum())
        problems += [f"{outside} corners' UVs leave the square"] if outside else []
    for part in ("normals", "tangents", "UVs"):
        own, other = (getattr(surface, f"corner_{part.lower()}") for surface in (written, level))
        problems += [f"there are no {part}"] if own is not None and other is None else []
    for what, alike in _alike(written, level).items():
        share = float(alike.mean())
        if not share >= SHARE_AT_SAME_PLACE and not (problems and what.endswith("UVs")):
            problems.append(f"{share:.1%} of it {what}, at least {SHARE_AT_SAME_PLACE:.0%}")
    return problems


def _alike(written: Written, level: Written) -> dict[str, np.ndarray]:
    """Which samples [N] of the level's surface are like the nearest point of the asset: by what is compared, as words of a message.

    Directions are alike within a right angle, tangents where their handedness is the same, too, and UVs within SAME_PLACE.
    """
    low, size = written.vertices.min(axis=0), np.ptp(written.vertices, axis=0).max()
    points, faces, weights = surface_samples((level.vertices - low) / size, level.faces, SAMPLES)
    vertices = (written.vertices - low) / size
    nearest, found, _ = nearest_points(points, vertices, written.faces)
    own_weights = barycentric(nearest, vertices[written.faces[found]])

    def at_samples(own: np.ndarray | None, other: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
        if own is None or other is None:
            return None
        return np.einsum("nc,ncd->nd", own_weights, own[found]), np.einsum("nc,ncd->nd", weights, other[faces])

    sides = (geometric_normals(written.vertices, written.faces)[0][found], geometric_normals(level.vertices, level.faces)[0][faces])
    alike = {"faces as the asset does": (sides[0] * sides[1]).sum(axis=1) >= 0}
    if normals := at_samples(written.corner_normals, level.corner_normals):
        alike["has the asset's normals"] = (normals[0] * normals[1]).sum(axis=1) > 0
    if tangents := at_samples(written.corner_tangents, level.corner_tangents):
        one, other = tangents
        alike["has the asset's tangents"] = ((one[:, :3] * other[:, :3]).sum(axis=1) > 0) & (one[:, 3] * other[:, 3] > 0)
    if uvs := at_samples(written.corner_uvs, level.corner_uvs):
        alike["has the asset's UVs"] = np.linalg.norm(uvs[0] - uvs[1], axis=1) <= SAME_PLACE
    return alike
