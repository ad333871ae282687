"""From an optimised surface, or any triangles, to a sound solid.

Inside, everything is float64 on the CPU, of about unit size. Soundness is judged on the result in its own precision, welded by position,
because that is what a reader of the written file sees.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.errors import PoorOutcome, RunFailed
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.meshlab import MeshlabFailed, repaired
from dreamfusion_mesh.geometry.soundness import degenerate, soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.frame import into_frame
from dreamfusion_mesh.shape.holes import close_holes
from dreamfusion_mesh.shape.manifold import diagonal, from_manifold, neighbor_offsets, rounded, try_manifold
from dreamfusion_mesh.shape.parts import outer_shells
from dreamfusion_mesh.shape.repair import closable, without_duplicate_faces

TELLING_OPENING = 0.05  # of the diagonal: what closes a larger one is a guess that shows

_log = logging.getLogger(__name__)
_SLIVER = 1e-5  # of the diagonal: edges shorter than this are collapsed, and faces lower than this relaxed


@dataclass(frozen=True, eq=False)
class Tidied:
    """A sound solid, and how it came about.

    mesh      on the CPU, without uvs, closed, manifold, outwards
    counts    what each step did, by its name; only what is not zero
    warnings  lines for the user
    """

    mesh: Mesh
    counts: dict[str, int]
    warnings: tuple[str, ...]


def tidy(mesh: Mesh, settings: MeshSettings) -> Tidied:
    """A sound solid: floaters, cavities and slivers gone, after `settings.smooth` Taubin passes.

    What is cut open along seams is sewn, sheets that hang on edges are taken off, faces turned to agree, and openings closed. Shells with
    under `settings.smallest_part` of the faces go, so do inverted ones (cavities) and those inside another one.
    Raises RunFailed, saying why, where the surface cannot be made sound, PoorOutcome where nothing remains of it, and ValueError where
    faces name vertices that are not there.
    """
    raw, frame = into_frame(mesh)
    warnings: list[str] = []
    if settings.repair == "meshlab":
        raw = _by_meshlab(raw, warnings)
    solid, counts = _solid(raw, warnings)
    kept, dropped = outer_shells(from_manifold(solid), settings.smallest_part)
    smooth = Mesh(_taubin_smooth(kept.vertices, kept.faces, settings.smooth), kept.faces)
    simple = from_manifold(_manifold(smooth).simplify(_SLIVER * diagonal(smooth.vertices)))
    kept, pinched = outer_shells(simple, settings.smallest_part)
    result = rounded(frame.scaled_back(_relax_slivers(kept)), mesh.vertices.dtype)
    found = soundness(weld(result))
    if not found.sound:
        raise RunFailed(f"tidy: the surface cannot be made sound ({found}); raise mesh.smooth or mesh.smallest_part")
    counts |= {name: dropped[name] + pinched[name] for name in dropped}
    counts["sliver_faces_collapsed"] = len(smooth.faces) - len(simple.faces)
    for line in warnings:
        _log.warning("%s", line)
    counts = {name: count for name, count in counts.items() if count}
    return Tidied(frame.unscaled(result, mesh.vertices.dtype), counts, tuple(warnings))


def _solid(mesh: Mesh, warnings: list[str]) -> tuple[Any, dict[str, int]]:
    """The mesh as a manifold3d.Manifold: as it is indexed, or sewn by position, or else repaired; and what was done.

    Raises RunFailed where it is not a closed surface then, PoorOutcome where no face remains.
    """
    single = _remaining(without_duplicate_faces(mesh))
    counts = {"duplicate_faces_dropped": len(mesh.faces) - len(single.faces)}
    solid = try_manifold(single) or try_manifold(without_duplicate_faces(weld(single)))
    if solid is not None:
        return solid, counts
    ready, repairs = closable(single)
    closed, filled = close_holes(_remaining(ready))
    closed = _remaining(without_duplicate_faces(closed))
    if filled.largest > TELLING_OPENING:
        some = "an opening" if filled.openings == 1 else f"{filled.openings} openings"
        warnings.append(f"tidy: closed {some}, the largest {filled.largest:.0%} of the diagonal across; what closes it is a guess")
    if float(signed_volume(closed.vertices, closed.faces)) < 0:  # which way the faces of an open surface look is a guess too
        closed = Mesh(closed.vertices, closed.faces.flip(1))
        repairs["faces_turned"] += len(closed.faces)
    repairs["duplicate_faces_dropped"] += counts["duplicate_faces_dropped"]
    return _manifold(closed), {**repairs, "openings_closed": filled.openings, "faces_added": filled.faces}


def _remaining(mesh: Mesh) -> Mesh:
    if len(mesh.faces) == 0:
        raise _flat()
    return mesh


def _manifold(mesh: Mesh) -> Any:
    solid = try_manifold(mesh)
    if solid is not None:
        return solid
    found = soundness(mesh)
    if found.open_edges + found.nonmanifold_edges + found.inconsistent_edges == 0:
        raise _flat()
    raise RunFailed(f"tidy: the surface is not closed and manifold ({found}); raise fine.sdf_sign or fine.tet_size")


def _flat() -> PoorOutcome:
    return PoorOutcome("empty", "tidy: the surface is flat: its faces lie on one another and enclose nothing; lower fine.threshold")


def _by_meshlab(mesh: Mesh, warnings: list[str]) -> Mesh:
    """What MeshLab's filters leave; the mesh itself, with a warning, where they fail."""
    try:
        return repaired(mesh)
    except MeshlabFailed as error:
        warnings.append(f"tidy: mesh.repair=meshlab was left out: {error}")
        return mesh


def _taubin_smooth(vertices: Tensor, faces: Tensor, passes: int) -> Tensor:
    """Smoothing that keeps the volume: a step inwards, a step outwards (Taubin 1995, lambda 0.5, mu -0.53)."""
    for _ in range(passes):
        vertices = vertices + 0.5 * neighbor_offsets(vertices, faces)
        vertices = vertices - 0.53 * neighbor_offsets(vertices, faces)
    return vertices


def _relax_slivers(mesh: Mesh) -> Mesh:
    """Corners of faces lower than _SLIVER of the diagonal drawn half-way to their neighbours' mean, until there are none."""
    vertices = mesh.vertices
    for _ in range(10):
        low = degenerate(vertices, mesh.faces, _SLIVER)
        if not bool(low.any()):
            break
        corners = mesh.faces[low].unique()
        vertices = vertices.index_add(0, corners, 0.5 * neighbor_offsets(vertices, mesh.faces)[corners])
    return Mesh(vertices, mesh.faces)
