"""How the parts of a delivery are named for each engine, and which of them lie in one file.

Sources: Unreal's importer knows hulls by UCX_ and the mesh's name (UInterchangeGenericMeshPipeline,
bImportCollisionAccordingToMeshName), and turns the green of a glTF's normal maps itself (UInterchangeGltfTranslator), but not that of
images by themselves; Unity, Manual, "Importing LOD Meshes" (_LOD0 ...); Godot, "Node type customization using name suffixes"
(-convcolonly; the suffix comes last).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

MAP_SUFFIXES = {"base_color": "basecolor", "orm": "orm", "normal": "normal"}  # by the map's role in a material


@dataclass(frozen=True)
class Engine:
    """Names as format strings of the asset's `name`, and a `number` where there are several.

    mesh, level, hull  of nodes and their meshes; levels are numbered from 1, hulls too
    group              of an empty root node that holds all others; "" for none
    material, map      of a material; of its images, by their `role`'s suffix in `suffixes`
    levels_inside      the levels of detail lie in the asset's file too, as nodes that the engine shows by distance
    hulls_inside       the hulls lie in the asset's file too, as nodes that the engine does not draw
    green_down         normal maps that lie beside the asset as images have -Y (DirectX); in a glTF they have +Y whatever the engine
    """

    mesh: str = "{name}"
    level: str = "{name}_LOD{number}"
    hull: str = "{name}_collision_{number:02}"
    group: str = ""
    material: str = "{name}"
    map: str = "{name}_{suffix}"
    suffixes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(MAP_SUFFIXES))
    levels_inside: bool = False
    hulls_inside: bool = False
    green_down: bool = False

    def image_names(self, name: str) -> dict[str, str]:
        """What the images of the material of `name` are called inside a file, by their role."""
        return {role: self.map.format(name=name, suffix=suffix) for role, suffix in self.suffixes.items()}


ENGINES: Mapping[str, Engine] = MappingProxyType({
    "generic": Engine(),
    "unreal": Engine(
        mesh="SM_{name}",
        level="SM_{name}_LOD{number}",
        hull="UCX_SM_{name}_{number:02}",
        material="M_{name}",
        map="T_{name}_{suffix}",
        suffixes=MappingProxyType({"base_color": "BC", "orm": "ORM", "normal": "N"}),
        hulls_inside=True,
        green_down=True,
    ),
    "unity": Engine(
        mesh="{name}_LOD0", hull="{name}_{number:02}_collider", group="{name}", levels_inside=True, hulls_inside=True
    ),
    "godot": Engine(hull="{name}_{number:02}-convcolonly", hulls_inside=True),
})  # fmt: skip
