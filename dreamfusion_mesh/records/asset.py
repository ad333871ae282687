"""What is delivered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dreamfusion_mesh.records.material import Material
from dreamfusion_mesh.records.mesh import Mesh


@dataclass(frozen=True, eq=False)
class Lod:
    """One level of detail below the asset itself.

    mesh      with UVs, in the asset's space
    material  the asset's own where the level shares its atlas, else one of its own at a smaller size
    """

    mesh: Mesh
    material: Material

    def __post_init__(self) -> None:
        if self.mesh.uvs is None:
            raise ValueError("Lod.mesh: has no uvs; unwrap it first")


@dataclass(frozen=True, eq=False)
class Asset:
    """What is delivered: one mesh with UVs in metres, pivot at its bottom centre, its material, and its provenance.

    lods   from the finest on, each with about half the triangles of the one before
    hulls  convex, closed, without UVs; together they stand for the mesh in collisions; empty where none were asked for
    """

    name: str
    mesh: Mesh
    material: Material
    provenance: dict[str, Any] = field(default_factory=dict)
    lods: tuple[Lod, ...] = ()
    hulls: tuple[Mesh, ...] = ()

    def __post_init__(self) -> None:
        if self.mesh.uvs is None:
            raise ValueError("Asset.mesh: has no uvs; unwrap it first")
