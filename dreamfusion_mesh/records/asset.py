"""What is delivered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dreamfusion_mesh.records.material import Material
from dreamfusion_mesh.records.mesh import Mesh


@dataclass(frozen=True, eq=False)
class Asset:
    """What is delivered: one mesh with UVs in metres, pivot at its bottom centre, its material, and its provenance."""

    name: str
    mesh: Mesh
    material: Material
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mesh.uvs is None:
            raise ValueError("Asset.mesh: has no uvs; unwrap it first")
