"""The numbers of a glTF's material that change what its maps hold, and whether its alpha hides anything.

Source: Khronos glTF 2.0 specification, sections 3.9 (materials), 5.19 (material), 5.20 (normalTexture) and 5.21 (occlusionTexture).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dreamfusion_mesh.audit.readers.files import excerpt
from dreamfusion_mesh.audit.readers.gltf import json_object
from dreamfusion_mesh.audit.readers.images import opened_image
from dreamfusion_mesh.audit.readers.nodes import numbers
from dreamfusion_mesh.audit.readers.written import Map
from dreamfusion_mesh.errors import BadInput

PBR = "pbrMetallicRoughness"
NORMAL_SCALE, OCCLUSION_STRENGTH = "normalTexture.scale", "occlusionTexture.strength"
_DEFAULTS = {  # each but the normal map's scale from 0 to 1
    f"{PBR}.baseColorFactor": (1.0, 1.0, 1.0, 1.0),
    f"{PBR}.metallicFactor": (1.0,),
    f"{PBR}.roughnessFactor": (1.0,),
    NORMAL_SCALE: (1.0,),
    OCCLUSION_STRENGTH: (1.0,),
    "emissiveFactor": (0.0, 0.0, 0.0),
}


def read_factors(material: dict[str, Any], where: str) -> tuple[dict[str, tuple[float, ...]], list[str]]:
    """Every factor by its own name, its default where the file has none, and what is wrong with them, a line each."""
    found, problems = dict[str, tuple[float, ...]](), list[str]()
    for path, default in _DEFAULTS.items():
        holder, _, key = path.rpartition(".")
        name = path if holder not in ("", PBR) else key
        found[name] = default
        try:
            owner = json_object(material, holder, where) if holder else material
            given = {key: [owner[key]] if len(default) == 1 and key in owner else owner.get(key, default)}
            values = tuple(numbers(given, key, len(default), [], f"{where}.{holder}" if holder else where).tolist())
        except BadInput as error:
            problems.append(str(error))
            continue
        if name != NORMAL_SCALE and not 0 <= min(values) <= max(values) <= 1:
            problems.append(f"{name}: {', '.join(f'{value:g}' for value in values)}, expected 0 to 1")
        else:
            found[name] = values
    return found, problems


def hidden_by_alpha(material: dict[str, Any], color_factor: Sequence[float], maps: Sequence[Map], where: str) -> str:
    """Why parts of the surface may not be drawn; "" where all is. Raises BadInput where alphaMode is none of the specification's."""
    mode = material.get("alphaMode", "OPAQUE")
    if mode not in ("OPAQUE", "MASK", "BLEND"):
        raise BadInput(f"{where}.alphaMode: {excerpt(mode)}, expected OPAQUE, MASK or BLEND")
    (cutoff,) = numbers({"alphaCutoff": [material.get("alphaCutoff", 0.5)]}, "alphaCutoff", 1, [], where)
    color = next((entry for entry in maps if entry.role == "base color"), None)
    if mode == "OPAQUE":
        return ""
    if color_factor[3] < 1 or (mode == "MASK" and cutoff > 1) or (color is not None and _has_alpha(color)):
        return f"{where}.alphaMode is {mode}, and what its alpha hides is not measured"
    return ""


def _has_alpha(entry: Map) -> bool:
    try:
        with opened_image(entry.data, entry.role) as image:
            return bool(image.has_transparency_data)
    except BadInput:  # which row 7 tells
        return False
