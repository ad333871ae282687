"""A sound solid within a budget of triangles.

Inside, everything is float64 on the CPU. Soundness is judged on the result in its own precision, welded by position, because that is
what a reader of the written file sees.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import shells, weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.manifold import (
    diagonal,
    from_manifold,
    outer_shells,
    rounded,
    to_cpu_double,
    to_manifold,
    try_manifold,
    without_duplicate_faces,
)

_VOLUME_TOLERANCE = 0.1  # relative change of the volume up to which the first sound reduction is taken
_FRAGMENT = 0.005  # of the faces: smaller shells that decimation has pinched off are dropped
_AGGRESSIVENESS = (4.0, 5.0, 6.0, 7.0)  # of quadric collapse: the lower, the truer, but low ones stop before a small budget


def decimate(mesh: Mesh, triangles: int) -> Mesh:
    """At most `triangles` triangles, and still sound; the mesh itself where it is both already. On the CPU, without uvs.

    Quadric edge collapse (Garland & Heckbert 1997) first, repaired if need be; then collapses that cannot break a manifold
    (manifold3d), with the smallest tolerance that meets the budget. The first sound one that keeps the volume and the number of
    shells is taken, else the sound one that keeps them best.
    Raises RunFailed with numbers where none of them is sound.
    """
    raw, dtype, tried, best = to_cpu_double(mesh), mesh.vertices.dtype, [], (torch.inf, mesh)
    before = soundness(weld(mesh.detach()))
    if len(raw.faces) <= triangles and before.sound:
        return Mesh(raw.vertices.to(dtype), raw.faces)
    volume = float(signed_volume(raw.vertices, raw.faces))
    for candidate in _reductions(raw, triangles):
        reduced = rounded(candidate, dtype)
        found = soundness(weld(reduced))
        if found.sound and len(reduced.faces) <= triangles:
            change = abs(float(signed_volume(reduced.vertices.double(), reduced.faces)) / volume - 1) + abs(found.shells - before.shells)
            best = min(best, (change, reduced), key=lambda pair: pair[0])
            if change <= _VOLUME_TOLERANCE:
                break
        tried.append(f"{len(reduced.faces)} triangles with {found}")
    if best[0] == torch.inf:
        outcome = "; ".join(tried) or "none with so few"
        raise RunFailed(f"decimate: {len(raw.faces)} triangles to at most {triangles}: no sound result ({outcome}); raise mesh.triangles")
    return best[1]


def _reductions(mesh: Mesh, triangles: int) -> Iterator[Mesh]:
    """Candidates within the budget, the truest kind first."""
    import fast_simplification

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
    solid, extent = to_manifold(mesh), diagonal(mesh.vertices)
    low, high, fits = 1e-7, 0.3, []
    for _ in range(16):
        tolerance = (low * high) ** 0.5
        simple = solid.simplify(tolerance * extent)
        if simple.num_tri() <= triangles:
            high = tolerance
            fits.append(simple)
        else:
            low = tolerance
    yield from (_drop_fragments(from_manifold(simple), parts) for simple in reversed(fits) if simple.volume() > 0)


def _drop_fragments(mesh: Mesh, parts: int) -> Mesh:
    """Without what decimation has pinched off: where there are more shells than `parts`, tiny ones go."""
    fragmented = int(shells(mesh.faces).max()) + 1 > parts
    return outer_shells(mesh, _FRAGMENT if fragmented else 0.0)
