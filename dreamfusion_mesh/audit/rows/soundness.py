"""Row 2: does the surface bound a solid?

Measured by trimesh, which the code that made the surface (geometry.soundness, shape.tidy) has no part in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.geometry.defects import Defects

# Of the diagonal: a face lower than this has no area in float32. Ten times smaller than geometry.soundness.DEGENERATE_HEIGHT, which the
# surface is made to, so that rounding to the file's float32 fails no surface that was sound.
ZERO_AREA_HEIGHT = 1e-7


@dataclass(frozen=True)
class SoundnessFigures:
    """What is wrong with a surface; all zero where nothing is, but for the three figures at the end.

    shells           parts connected over edges, however many faces an edge has
    smallest_share   faces of the smallest shell over all faces
    smallest_volume  of all shells, signed: positive where a shell's faces look outwards
    """

    non_manifold_edges: int
    open_edges: int
    inconsistent_edges: int
    degenerate_faces: int
    duplicate_faces: int
    inward_shells: int
    shells: int
    smallest_share: float
    smallest_volume: float


def soundness_row(written: Written, settings: AuditSettings, seen: Defects) -> Row:
    """Row 2. What is `seen` on the surface, and does not make it unsound, is told and does not fail it."""
    found = measure_soundness(written.vertices, written.faces)
    counts: Figures = {
        "non-manifold edges": found.non_manifold_edges,
        "open edges": found.open_edges,
        "inconsistent edges": found.inconsistent_edges,
        "degenerate faces": found.degenerate_faces,
        "duplicate faces": found.duplicate_faces,
        "inward shells": found.inward_shells,
    }
    problems = [f"{count} {name}" for name, count in counts.items() if count]
    if found.smallest_share < settings.smallest_shell:
        problems.append(f"a shell has {found.smallest_share:.3%} of the faces, at least {settings.smallest_shell:.3%}")
    figures: Figures = {"shells": found.shells, "smallest shell": found.smallest_share, "smallest volume": found.smallest_volume}
    figures |= {"cavities": seen.cavities, "holes through it": seen.holes, "in pits": seen.pits}
    return measured_row(2, {**counts, **figures}, problems, "; ".join(replace(seen, below_height=0.0).lines()))


def measure_soundness(vertices: np.ndarray, faces: np.ndarray) -> SoundnessFigures:
    """Measure a surface as it is indexed: vertices [V, 3] float64, all of them used, and faces [F, 3], at least one."""
    import trimesh

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    used = np.bincount(mesh.edges_unique_inverse)
    ahead = np.bincount(mesh.edges_unique_inverse[mesh.edges[:, 0] < mesh.edges[:, 1]], minlength=len(used))
    shell = _shells(mesh)
    sizes, volumes = np.bincount(shell), _shell_volumes(mesh, shell)
    return SoundnessFigures(
        non_manifold_edges=int((used > 2).sum()),
        open_edges=int((used == 1).sum()),
        inconsistent_edges=int(((used == 2) & (ahead != 1)).sum()),
        degenerate_faces=int(_degenerate(mesh).sum()),
        duplicate_faces=len(faces) - int(mesh.unique_faces().sum()),
        inward_shells=int((~(volumes > 0)).sum()),
        shells=len(sizes),
        smallest_share=float(sizes.min() / len(faces)),
        smallest_volume=float(volumes.min()),
    )


def _shells(mesh: Any) -> np.ndarray:
    """Shell [F] of each face, from 0: the components of faces and edges, each face joined to its three edges."""
    from trimesh.graph import connected_component_labels

    faces = len(mesh.faces)
    joined = np.stack([mesh.edges_face, faces + mesh.edges_unique_inverse], axis=1)
    return connected_component_labels(joined, node_count=faces + len(mesh.edges_unique))[:faces]


def _shell_volumes(mesh: Any, shell: np.ndarray) -> np.ndarray:
    """[S] signed volumes by the divergence theorem, about each shell's own middle, so that nothing cancels far from the origin."""
    centroids, sizes = mesh.triangles_center, np.bincount(shell)
    middles = np.stack([np.bincount(shell, weights=column) / sizes for column in centroids.T], axis=1)
    flux = np.einsum("fi,fi->f", centroids - middles[shell], mesh.triangles_cross)
    return np.bincount(shell, weights=flux) / 6.0


def _degenerate(mesh: Any) -> np.ndarray:
    """[F] bool: a corner twice, or lower over its longest edge than ZERO_AREA_HEIGHT of the diagonal."""
    longest = mesh.edges_unique_length[mesh.edges_unique_inverse].reshape(-1, 3).max(axis=1)
    repeated = (mesh.edges[:, 0] == mesh.edges[:, 1]).reshape(-1, 3).any(axis=1)
    diagonal = np.linalg.norm(np.ptp(mesh.vertices, axis=0))
    return repeated | (2.0 * mesh.area_faces <= ZERO_AREA_HEIGHT * diagonal * longest)
