"""A sound solid within a budget of triangles, near the one it was made from.

Inside, everything is float64 on the CPU, of about unit size. Soundness is judged on the result in its own precision, welded by position,
because that is what a reader of the written file sees.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.deviation import deviation_from
from dreamfusion_mesh.geometry.meshlab import MeshlabFailed, remeshed
from dreamfusion_mesh.geometry.soundness import Soundness, soundness
from dreamfusion_mesh.geometry.topology import shells, weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.frame import Frame, into_frame
from dreamfusion_mesh.shape.manifold import diagonal, from_manifold, rounded, try_manifold
from dreamfusion_mesh.shape.parts import outer_shells
from dreamfusion_mesh.shape.repair import without_duplicate_faces

_log = logging.getLogger(__name__)
_VOLUME_TOLERANCE = 0.1  # relative change of the volume up to which a sound reduction is taken
_FRAGMENT = 0.005  # of the faces: smaller shells that decimation has pinched off are dropped
_AGGRESSIVENESS = (4.0, 5.0, 6.0, 7.0)  # of quadric collapse: the lower, the truer, but low ones stop before a small budget
_BISECTIONS = 16
_TRUEST = 3  # of the reductions that bisection found, how many are tried
_ALIKE = 1.02  # those with fewer triangles than so many times another's are as good as the same


@dataclass(frozen=True, eq=False)
class Decimated:
    """A sound solid within the budget.

    mesh       on the CPU, without uvs
    deviation  symmetric Hausdorff distance to the mesh it was made from, over that one's diagonal
    warnings   lines for the user
    """

    mesh: Mesh
    deviation: float
    warnings: tuple[str, ...]


def decimate(mesh: Mesh, triangles: int, max_deviation: float, remesh: Literal["none", "isotropic"] = "none") -> Decimated:
    """At most `triangles` triangles, and still sound; the mesh itself where it is both already and is not to be remeshed.

    Quadric edge collapse (Garland & Heckbert 1997) first, repaired if need be; then collapses that cannot break a manifold
    (manifold3d), with the smallest tolerance that meets the budget. The first sound one is taken that keeps the volume and the number of
    shells and lies within `max_deviation` of the diagonal; else, with a warning, the nearest that keeps them, or the one that keeps them
    best.
    remesh  "isotropic" has MeshLab cut the surface into even triangles first; see geometry.meshlab
    Raises RunFailed with numbers where none of them is sound, and what `into_frame` raises.
    """
    raw, frame = into_frame(mesh)
    dtype, warnings = mesh.vertices.dtype, list[str]()
    before = soundness(weld(raw))
    start = _remeshed(raw, triangles, warnings) if remesh == "isotropic" else raw
    if start is raw and len(raw.faces) <= triangles and before.sound:
        return Decimated(Mesh(mesh.vertices.detach().cpu(), mesh.faces.cpu()), 0.0, tuple(warnings))
    reduced, distance = _best(raw, before, _reductions(start, triangles), triangles, frame, dtype, max_deviation, warnings)
    for line in warnings:
        _log.warning("%s", line)
    return Decimated(frame.unscaled(reduced, dtype), distance, tuple(warnings))


def _best(
    raw: Mesh,
    before: Soundness,
    candidates: Iterator[Mesh],
    triangles: int,
    frame: Frame,
    dtype: torch.dtype,
    max_deviation: float,
    warnings: list[str],
) -> tuple[Mesh, float]:
    """The candidate that `decimate` takes, rounded to `dtype` at the working scale, and its deviation; adds to `warnings`."""
    volume, deviation = float(signed_volume(raw.vertices, raw.faces)), deviation_from(frame.scaled_back(raw))
    best: tuple[tuple[float, float], Mesh] | None = None
    tried = []
    for candidate in candidates:
        reduced = rounded(frame.scaled_back(candidate), dtype)
        found = soundness(weld(reduced))
        if found.sound and len(reduced.faces) <= triangles:
            change = abs(float(signed_volume(reduced.vertices.double(), reduced.faces)) / volume - 1) + abs(found.shells - before.shells)
            kept = change <= _VOLUME_TOLERANCE
            rank = (0.0, deviation(reduced)) if kept else (1.0, change)
            if best is None or rank < best[0]:
                best = rank, reduced
            if kept and rank[1] <= max_deviation:
                break
        tried.append(f"{len(reduced.faces)} triangles with {found}")
    if best is None:
        outcome = "; ".join(tried) or "none with so few"
        raise RunFailed(f"decimate: {len(raw.faces)} triangles to at most {triangles}: no sound result ({outcome}); raise mesh.triangles")
    (altered, figure), reduced = best
    distance = deviation(reduced) if altered else figure
    budget = f"decimate: {len(raw.faces)} triangles to at most {triangles}"
    if altered:
        best_one = f"the best one is {distance:.2%} of the diagonal off"
        warnings.append(f"{budget}: no result keeps the volume and the parts; {best_one}; raise mesh.triangles")
    elif distance > max_deviation:
        limit = f"mesh.max_deviation asks for {max_deviation:.2%}"
        warnings.append(f"{budget}: the nearest result is {distance:.2%} of the diagonal off, {limit}; raise mesh.triangles")
    return reduced, distance


def _remeshed(mesh: Mesh, triangles: int, warnings: list[str]) -> Mesh:
    """The mesh in about `triangles` even triangles; itself, with a warning, where MeshLab fails."""
    try:
        return remeshed(mesh, triangles)
    except MeshlabFailed as error:
        warnings.append(f"decimate: mesh.remesh=isotropic was left out: {error}")
        return mesh


def _reductions(mesh: Mesh, triangles: int) -> Iterator[Mesh]:
    """Candidates within the budget, the truest kind first."""
    import fast_simplification

    if len(mesh.faces) <= triangles:
        yield mesh
    parts = int(shells(mesh.faces).max()) + 1
    points, faces = mesh.vertices.numpy(), mesh.faces.numpy().astype(np.int32)
    for aggressiveness in _AGGRESSIVENESS:
        v, f = fast_simplification.simplify(points, faces, target_count=min(triangles, len(faces)), agg=aggressiveness)
        collapsed = without_duplicate_faces(Mesh(torch.from_numpy(v), torch.from_numpy(f).long()))
        if not 0 < len(collapsed.faces) <= triangles:
            continue
        yield collapsed
        solid = try_manifold(collapsed)
        if solid is not None:
            yield _drop_fragments(from_manifold(solid), parts)
    solid = try_manifold(mesh) or try_manifold(without_duplicate_faces(weld(mesh)))
    if solid is None:
        return
    low, high, fits, extent = 1e-7, 0.3, [], diagonal(mesh.vertices)
    for _ in range(_BISECTIONS):
        tolerance = (low * high) ** 0.5
        simple = solid.simplify(tolerance * extent)
        if simple.num_tri() <= triangles:
            high = tolerance
            fits.append(simple)
        else:
            low = tolerance
            solid = simple  # fewer triangles from here on: it bounds the time
    sizes = [simple.num_tri() for simple in fits]
    distinct = [at for at in range(len(fits)) if at + 1 == len(fits) or sizes[at + 1] > _ALIKE * sizes[at]]
    for at in distinct[: -_TRUEST - 1 : -1]:
        if fits[at].volume() > 0:
            yield _drop_fragments(from_manifold(fits[at]), parts)


def _drop_fragments(mesh: Mesh, parts: int) -> Mesh:
    """Without what decimation has pinched off: where there are more shells than `parts`, tiny ones go."""
    fragmented = int(shells(mesh.faces).max()) + 1 > parts
    return outer_shells(mesh, _FRAGMENT if fragmented else 0.0)[0]
