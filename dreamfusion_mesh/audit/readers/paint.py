"""The materials of a glTF: their maps, and where a material's maps take their UVs from.

Sources: Khronos glTF 2.0 specification, section 3.9 (materials); KHR_texture_transform, EXT_texture_webp, EXT_texture_avif and
MSFT_texture_dds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.extensions import KNOWN, LAYERS, OTHER_MATERIALS, Needs, Unread, extension, names, needs, refuse_unknown
from dreamfusion_mesh.audit.readers.factors import hidden_by_alpha, read_factors
from dreamfusion_mesh.audit.readers.gltf import Gltf, image_bytes, integer, item, json_object
from dreamfusion_mesh.audit.readers.nodes import numbers
from dreamfusion_mesh.audit.readers.written import Map, Materials
from dreamfusion_mesh.errors import BadInput

TRANSFORM = "KHR_texture_transform"
_FACTORS = ("baseColorFactor", "metallicFactor", "roughnessFactor")
_SOURCES = {"EXT_texture_webp": "webp", "EXT_texture_avif": "avif", "MSFT_texture_dds": ""}  # with what Pillow calls its reader
_MOST_SLOTS = 1000  # of a material


@dataclass(frozen=True)
class UvUse:
    """Which UVs a material's maps are laid by: the set, and the rows [2, 3] of what moves them (None: nothing does)."""

    number: int = 0
    rows: tuple[tuple[float, ...], ...] | None = None

    def apply(self, uvs: np.ndarray) -> np.ndarray:
        """UVs [..., 2] as stored, origin top-left -> moved, origin bottom-left."""
        if self.rows is not None:
            (a, b, c), (d, e, f) = self.rows
            u, v = uvs[..., 0], uvs[..., 1]
            uvs = np.stack([a * u + b * v + c, d * u + e * v + f], axis=-1)
        return np.stack([uvs[..., 0], 1.0 - uvs[..., 1]], axis=-1)


def uv_use(gltf: Gltf, index: int | None, unread: Unread) -> UvUse:
    """The UVs of a material's base colour, or of its first map. UVs are unread where its maps differ in theirs. Raises BadInput."""
    if index is None:
        return UvUse()
    where = f"materials[{index}]"
    material = item(gltf, "materials", index, "primitive")
    slots = dict(_slots(material, where))
    color = json_object(json_object(material, "pbrMetallicRoughness", where), "baseColorTexture", where)
    uses = []
    for place, slot in slots.items():
        for name in names(slot):
            if name not in KNOWN:
                unread.add(str(needs(name, place)), "uvs", "images")
        uses.append(_use(slot, place))
    first = _use(color, f"{where}.baseColorTexture") if color else uses[0] if uses else UvUse()
    if any(use != first for use in uses):
        unread.add(f"{where}: its maps differ in UV set or {TRANSFORM}, and one layout is measured", "uvs", "normals")
    if first.rows is not None and (first.rows[0][1] or first.rows[1][0] or min(first.rows[0][0], first.rows[1][1]) < 0):
        unread.add(f"{where}: {TRANSFORM} turns the maps, and the tangents are not turned with them", "normals")
    return first


def read_materials(gltf: Gltf, used: list[int | None], unread: Unread) -> Materials:
    """The materials that primitives use, each once; what is missing or broken in them is said in the record."""
    if len(used) != 1 or used[0] is None:
        return Materials(len(used))
    where = f"materials[{used[0]}]"
    try:
        material = item(gltf, "materials", used[0], "primitive")
        pbr = json_object(material, "pbrMetallicRoughness", where)
        _add_other_looks(material, where, unread)
    except BadInput as error:
        return Materials(1, problems=(str(error),))
    slots = (
        ("base color", pbr, "baseColorTexture"),
        ("metallic-roughness", pbr, "metallicRoughnessTexture"),
        ("occlusion", material, "occlusionTexture"),
        ("normal", material, "normalTexture"),
        ("emissive", material, "emissiveTexture"),
    )
    maps = list[Map]()
    factors, problems = read_factors(material, where)
    for role, owner, slot in slots:
        try:
            maps += [_map(gltf, role, json_object(owner, slot, where), f"{where}.{slot}")] if slot in owner else []
        except Needs as error:
            unread.add(str(error), "images")
        except BadInput as error:
            problems.append(f"{role}: {error}")
    try:
        if hidden := hidden_by_alpha(material, factors["baseColorFactor"], maps, where):
            unread.add(hidden, "materials")
    except BadInput as error:
        problems.append(str(error))
    missing = tuple(factor for factor in _FACTORS if factor not in pbr)
    if "emissiveTexture" in material and "emissiveFactor" not in material:
        missing = (*missing, "emissiveFactor")
    return Materials(1, tuple(maps), missing, tuple(dict.fromkeys(problems)), factors)


def _add_other_looks(material: dict[str, Any], where: str, unread: Unread) -> None:
    """What the material's extensions make of it."""
    for name in names(material):
        if name in OTHER_MATERIALS:
            unread.add(f"{where} is one of {name}", *OTHER_MATERIALS[name])
        elif name not in KNOWN:
            unread.add(str(needs(name, where)), "materials", "images")
        elif name in LAYERS and any(True for _ in _slots(material["extensions"][name], where)):
            unread.add(f"{where} has maps of {name}, which are not measured", "materials")


def _slots(material: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of a material that names a texture, in its extensions too: where it is, and its object."""
    waiting, found = [(where, material)], 0
    while waiting:
        place, entry = waiting.pop()
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if key == "extras" or not isinstance(value, dict):
                continue
            found += 1
            if found > _MOST_SLOTS:
                raise BadInput(f"{where}: more than the {_MOST_SLOTS} objects that are read")
            if key.endswith("Texture"):
                yield f"{place}.{key}", value
            else:
                waiting.append((place if key == "extensions" else f"{place}.{key}", value))


def _use(slot: dict[str, Any], where: str) -> UvUse:
    moved = extension(slot, TRANSFORM, where) or {}
    number = integer(moved, "texCoord", where, integer(slot, "texCoord", where, 0))
    turn = moved.get("rotation", 0.0)
    (turn,) = numbers({"rotation": [turn]}, "rotation", 1, [0.0], f"{where}.{TRANSFORM}")
    offset, scale = (
        numbers(moved, key, 2, default, f"{where}.{TRANSFORM}") for key, default in (("offset", [0.0, 0.0]), ("scale", [1.0, 1.0]))
    )
    if not turn and not offset.any() and (scale == 1).all():
        return UvUse(number)
    cosine, sine = (float(np.cos(turn)), float(np.sin(turn))) if turn else (1.0, 0.0)
    (su, sv), (ou, ov) = scale.tolist(), offset.tolist()
    return UvUse(number, ((cosine * su, sine * sv, ou), (-sine * su, cosine * sv, ov)))


def _map(gltf: Gltf, role: str, slot: dict[str, Any], where: str) -> Map:
    _use(slot, where)
    texture = item(gltf, "textures", slot.get("index"), where)
    where = f"textures[{slot['index']}]"
    refuse_unknown(texture, where)
    source = texture.get("source")
    if "KHR_texture_basisu" in names(texture):
        raise needs("KHR_texture_basisu", where)
    for name, reader in _SOURCES.items():
        replaced = extension(texture, name, where)
        if replaced is not None:
            if reader and not _reads(reader):
                raise needs(name, where)
            source = replaced.get("source", source)
            break
    return Map(role, f"images[{source}]", image_bytes(gltf, source, where))


def _reads(kind: str) -> bool:
    from PIL import features

    return bool(features.check(kind))
