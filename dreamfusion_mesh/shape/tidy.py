"""From an optimised surface to a sound solid.

Inside, everything is float64 on the CPU. Soundness is judged on the result in its own precision, welded by position, because that is
what a reader of the written file sees.
"""

from __future__ import annotations

from torch import Tensor

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.errors import PoorOutcome, RunFailed
from dreamfusion_mesh.geometry.soundness import degenerate, soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.manifold import diagonal, from_manifold, neighbor_offsets, outer_shells, rounded, to_cpu_double, to_manifold

_SLIVER = 1e-5  # of the diagonal: edges shorter than this are collapsed, and faces lower than this relaxed


def tidy(mesh: Mesh, settings: MeshSettings) -> Mesh:
    """A sound solid: floaters, cavities and slivers gone, after `settings.smooth` Taubin passes.

    Shells with under `settings.smallest_part` of the faces go, so do inverted ones (cavities) and those inside another one.
    The result is on the CPU, without uvs, closed, manifold, outwards; a surface that was cut open along seams is sewn.
    Raises RunFailed, saying why, where the surface cannot be made sound, PoorOutcome where nothing remains of it.
    """
    raw = to_cpu_double(mesh)
    if not bool(raw.vertices.isfinite().all()):
        remedy = "lower fine.sdf_learning_rate or fine.deform_learning_rate"
        raise PoorOutcome("diverged", f"tidy: the surface has vertices that are not finite; {remedy}")
    solid = outer_shells(from_manifold(to_manifold(raw)), settings.smallest_part)
    solid = Mesh(_taubin_smooth(solid.vertices, solid.faces, settings.smooth), solid.faces)
    simple = from_manifold(to_manifold(solid).simplify(_SLIVER * diagonal(solid.vertices)))
    result = rounded(_relax_slivers(outer_shells(simple, settings.smallest_part)), mesh.vertices.dtype)
    found = soundness(weld(result))
    if not found.sound:
        raise RunFailed(f"tidy: the surface cannot be made sound ({found}); raise mesh.smooth or mesh.smallest_part")
    return result


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
