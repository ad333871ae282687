"""An asset, its levels of detail and its collision hulls as binary glTF 2.0 files. The same asset gives the same bytes.

Source of the levels in one file: MSFT_lod, https://github.com/KhronosGroup/glTF/tree/main/extensions/2.0/Vendor/MSFT_lod.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamfusion_mesh.asset.export.document import Document
from dreamfusion_mesh.asset.export.engines import ENGINES, Engine
from dreamfusion_mesh.asset.export.names import safe_name
from dreamfusion_mesh.asset.export.png import PngFiles
from dreamfusion_mesh.config import AssetSettings
from dreamfusion_mesh.records import Asset, Lod, Material

_MAX_NOTE_LENGTH = 2000  # characters of one provenance entry that go into the file
_LOG = logging.getLogger(__name__)


def glb_bytes(asset: Asset, settings: AssetSettings | None = None, images: PngFiles | None = None) -> bytes:
    """The asset's file for `settings.engine`: one node without transform, one mesh of one primitive, one material with every factor.

    Levels of detail and hulls are in it where the engine looks for them there, or `settings.msft_lod` asks for the levels.
    images  where the pictures' PNG files are kept for other files of the same asset
    Raises ValueError where a mesh has no faces, no UVs, or values that are not finite.
    """
    settings = settings or AssetSettings()
    engine, name = ENGINES[settings.engine], safe_name(asset.name)
    parts = _Parts(Document(images or PngFiles()), engine, asset)
    finest = parts.surface(Lod(asset.mesh, asset.material), 0)
    with_lods = settings.msft_lod and bool(asset.lods)
    if with_lods and settings.engine != "generic":
        _LOG.warning("asset.msft_lod: left out, since files for %s hold their levels of detail another way", settings.engine)
        with_lods = False
    levels = [parts.surface(lod, number) for number, lod in enumerate(asset.lods, start=1) if engine.levels_inside or with_lods]
    roots = [finest, *(levels if engine.levels_inside else ()), *(parts.hulls(asset) if engine.hulls_inside else ())]
    if engine.group:
        roots = [parts.document.add_node(engine.group.format(name=name), children=roots)]
    if with_lods:
        parts.document.extend_node(finest, _lod_extension(levels))
    return parts.document.glb(name, roots, notes(asset.provenance), ["MSFT_lod"] if with_lods else [])


def level_bytes(asset: Asset, number: int, settings: AssetSettings, images: PngFiles) -> bytes:
    """The file of one level of detail by itself; 1 is the first below the asset. Raises as `glb_bytes` does."""
    name = safe_name(asset.name)
    parts = _Parts(Document(images), ENGINES[settings.engine], asset)
    node = parts.surface(asset.lods[number - 1], number)
    return parts.document.glb(f"{name}_LOD{number}", [node], notes(asset.provenance))


def collision_bytes(asset: Asset, settings: AssetSettings) -> bytes:
    """The file of the collision hulls by themselves, a node each, without materials. Raises as `glb_bytes` does."""
    name = safe_name(asset.name)
    parts = _Parts(Document(PngFiles()), ENGINES[settings.engine], asset)
    return parts.document.glb(f"{name}_collision", parts.hulls(asset), notes(asset.provenance))


class _Parts:
    """Puts the parts of an asset into a document by an engine's names; a material that several share goes in once."""

    def __init__(self, document: Document, engine: Engine, asset: Asset) -> None:
        self.document, self._engine, self._name = document, engine, safe_name(asset.name)
        self._all = [asset.material, *(lod.material for lod in asset.lods)]
        self._materials: list[tuple[Material, int]] = []

    def surface(self, lod: Lod, number: int) -> int:
        """The node of a level of detail; 0 is the asset itself."""
        name = (self._engine.level if number else self._engine.mesh).format(name=self._name, number=number)
        material = self._material(lod.material)
        return self.document.add_node(name, self.document.add_surface(name, lod.mesh, material, tangents="normal" in lod.material.maps))

    def hulls(self, asset: Asset) -> list[int]:
        """A node for each hull."""
        names = [self._engine.hull.format(name=self._name, number=number) for number in range(1, len(asset.hulls) + 1)]
        return [self.document.add_node(name, self.document.add_hull(name, hull)) for name, hull in zip(names, asset.hulls, strict=True)]

    def _material(self, material: Material) -> int:
        """Named in every file for the first level that has it, so that an engine knows it again."""
        for other, index in self._materials:
            if other is material:
                return index
        number = next(number for number, other in enumerate(self._all) if other is material)
        name = f"{self._name}_LOD{number}" if number else self._name
        index = self.document.add_material(self._engine.material.format(name=name), material, self._engine.image_names(name))
        self._materials.append((material, index))
        return index


def _lod_extension(levels: list[int]) -> dict[str, Any]:
    """What MSFT_lod says on the finest level's node, and from which share of the screen's area down each level is shown.

    Each has half the detail of the one before, so it does where the object is half as high: a quarter of the area. The last stays.
    """
    coverage = [*(0.25**number for number in range(1, len(levels) + 1)), 0.0]
    return {"extensions": {"MSFT_lod": {"ids": levels}}, "extras": {"MSFT_screencoverage": coverage}}


def notes(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of the provenance, and of records in it one level down; the whole of it lies beside the file."""
    found: dict[str, Any] = {}
    for key, value in provenance.items():
        kept = {name: part for name, part in value.items() if _plain(part)} if isinstance(value, dict) else value
        if _plain(kept) or (isinstance(kept, dict) and kept):
            found[str(key)] = kept
    return found


def _plain(value: Any) -> bool:
    if isinstance(value, float):
        return bool(np.isfinite(value))
    return isinstance(value, bool | int) or value is None or (isinstance(value, str) and len(value) <= _MAX_NOTE_LENGTH)
