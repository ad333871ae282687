"""What the nodes of a glTF's scene draw, and where: hierarchy, instances, levels of detail and collision nodes by engines' names.

Sources: Khronos glTF 2.0 specification, section 3.5 (scenes and nodes); EXT_mesh_gpu_instancing, KHR_node_visibility and MSFT_lod. Names:
https://dev.epicgames.com/documentation/en-us/unreal-engine/fbx-static-mesh-pipeline-in-unreal-engine (UCX_, UBX_, USP_, UCP_),
https://docs.unity3d.com/Manual/importing-lod-meshes.html (_LOD0 ...),
https://docs.godotengine.org/en/stable/tutorials/assets_pipeline/importing_3d_scenes/node_type_customization.html (-colonly ...).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.accessors import floats
from dreamfusion_mesh.audit.readers.extensions import KNOWN, Unread, extension, names, needs
from dreamfusion_mesh.audit.readers.files import excerpt
from dreamfusion_mesh.audit.readers.gltf import Gltf, integer, is_integer, item, items, json_object
from dreamfusion_mesh.errors import BadInput

MAX_DRAWN = 100_000  # meshes that nodes draw, each instance counted
MAX_LEVELS = 16
_HULLS = {
    "unreal": re.compile(r"^(UCX|UBX|USP|UCP)_"),
    "unity": re.compile(r"_collider([ _.]*\d+)?$", re.IGNORECASE),
    "godot": re.compile(r"[-_](conv)?colonly[\s\d_.]*$|\$(conv)?colonly", re.IGNORECASE),
}
_NOT_DRAWN = {"godot": re.compile(r"[-_](noimp|navmesh|occonly)[\s\d_.]*$", re.IGNORECASE)}
_LEVEL = {"unity": re.compile(r"_LOD(\d{1,9})$", re.IGNORECASE)}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A mesh that a node draws, `name`d for messages, by each of `matrices` [N, 4, 4]; `node` is its JSON."""

    name: str
    node: dict[str, Any]
    matrices: np.ndarray


@dataclass(eq=False)
class Nodes:
    """What a scene's nodes hold.

    drawn   meshes of the surface
    hulls   meshes of its collision nodes, which are not drawn
    worlds  node -> its matrix [4, 4] in the scene, which skins ask for
    levels  how many levels of detail there are below the first
    apart   some of them by MSFT_lod, whose nodes need not be in the scene
    """

    drawn: list[Drawn] = field(default_factory=list)
    hulls: list[Drawn] = field(default_factory=list)
    worlds: dict[int, np.ndarray] = field(default_factory=dict)
    levels: int = 0
    apart: bool = False


def roots(gltf: Gltf, unread: Unread) -> list[int]:
    """The nodes of the scene that is shown: the default one, or the only one. Raises BadInput where there is none."""
    found = gltf.document.get("scenes", [])
    if "scene" not in gltf.document and isinstance(found, list) and len(found) > 1:
        unread.add(f"the file has {len(found)} scenes and names none to be shown", "surface", "materials", "images")
    scene = item(gltf, "scenes", gltf.document.get("scene", 0), "scene")
    add_unknown(scene, "scene", unread)
    return _indices(scene, "nodes", "scene")


def read_nodes(gltf: Gltf, start: list[int], engine: str, level: int, unread: Unread) -> Nodes:
    """All nodes from those of `start` down, at one level of detail (0: the finest). Each is met once, so a cycle cannot hold it."""
    found, count, finest = Nodes(), 0, _finest(gltf, engine)
    waiting = [(index, np.eye(4), False, False) for index in reversed(start)]
    while waiting:
        index, parent, in_hull, is_level = waiting.pop()
        node, where = item(gltf, "nodes", index, "scene"), f"nodes[{index}]"
        if index in found.worlds:
            raise BadInput(f"{where}: has two parents, or is its own")
        with np.errstate(all="ignore"):  # what overflows is refused with the vertices that it moves
            found.worlds[index] = matrix = parent @ node_matrix(node, where)
        lods = [] if is_level else _lods(node, where)
        found.levels, found.apart = max(found.levels, len(lods)), found.apart or bool(lods)
        if level and lods:
            waiting.append((lods[min(level, len(lods)) - 1], parent, in_hull, True))
            continue
        name = node["name"] if isinstance(node.get("name"), str) else ""
        if _is_hidden(node, name, where, engine) or _other_level(name, engine, level + finest, found, finest):
            continue
        add_unknown(node, where, unread)
        in_hull = in_hull or (engine in _HULLS and bool(_HULLS[engine].search(name)))
        if "mesh" in node:
            drawn = Drawn(name or where, node, _placed(gltf, node, where, matrix))
            count += len(drawn.matrices)
            if count > MAX_DRAWN:
                raise BadInput(f"scene: more than the {MAX_DRAWN} meshes that are read, instances counted")
            (found.hulls if in_hull else found.drawn).append(drawn)
        waiting += [(child, matrix, in_hull, False) for child in reversed(_indices(node, "children", where))]
    return found


def add_unknown(entry: dict[str, Any], where: str, unread: Unread) -> None:
    """The surface is unread where something that is drawn has an extension that is not known."""
    for name in names(entry):
        if name not in KNOWN:
            unread.add(str(needs(name, where)), "surface")


def node_matrix(node: dict[str, Any], where: str) -> np.ndarray:
    """A node's own matrix [4, 4], to be multiplied from the left. Raises BadInput."""
    if "matrix" in node:
        return numbers(node, "matrix", 16, [], where).reshape(4, 4).T
    rotation = numbers(node, "rotation", 4, [0, 0, 0, 1], where)
    scale, translation = numbers(node, "scale", 3, [1, 1, 1], where), numbers(node, "translation", 3, [0, 0, 0], where)
    return _matrices(translation[None], rotation[None], scale[None])[0]


def numbers(entry: dict[str, Any], key: str, count: int, default: list[float], where: str) -> np.ndarray:
    """`count` finite numbers under a key. Raises BadInput."""
    value = entry.get(key, default)
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.empty(0)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise BadInput(f"{where}.{key}: expected {'a finite number' if count == 1 else f'{count} finite numbers'}")
    return found


def _matrices(translations: np.ndarray, rotations: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """[N, 4, 4] of translations [N, 3], quaternions x, y, z, w [N, 4] and scales [N, 3]."""
    x, y, z, w = rotations.T
    found = np.zeros((len(translations), 4, 4))
    found[:, 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=1)
    found[:, 1, :3] = np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=1)
    found[:, 2, :3] = np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1)
    found[:, :3, :3] *= scales[:, None]
    found[:, :3, 3] = translations
    found[:, 3, 3] = 1.0
    return found


def _placed(gltf: Gltf, node: dict[str, Any], where: str, matrix: np.ndarray) -> np.ndarray:
    """The node's matrix [1, 4, 4], or that of each instance [N, 4, 4]. Raises BadInput."""
    instancing = extension(node, "EXT_mesh_gpu_instancing", where)
    if instancing is None:
        return matrix[None]
    attributes, where = json_object(instancing, "attributes", where), f"{where}.EXT_mesh_gpu_instancing"
    defaults = {"TRANSLATION": [0.0, 0, 0], "ROTATION": [0.0, 0, 0, 1], "SCALE": [1.0, 1, 1]}
    count = 0
    for name in defaults.keys() & attributes.keys():
        entry = item(gltf, "accessors", attributes[name], f"{where}.{name}")
        count = max(count, integer(entry, "count", f"{where}.{name}", low=1))
    if not 0 < count <= MAX_DRAWN:
        raise BadInput(f"{where}: {count} instances, from 1 to {MAX_DRAWN} are read")
    found = []
    for name, default in defaults.items():
        values = floats(gltf, attributes[name], f"{where}.{name}") if name in attributes else np.tile(default, (count, 1))
        if values.shape != (count, len(default)) or not np.isfinite(values).all():
            raise BadInput(f"{where}.{name}: expected {len(default)} finite numbers for each of {count} instances")
        found.append(values)
    with np.errstate(all="ignore"):
        return matrix @ _matrices(*found)


def _indices(entry: dict[str, Any], key: str, where: str) -> list[int]:
    found = entry.get(key, [])
    if not isinstance(found, list) or not all(is_integer(index) for index in found):
        raise BadInput(f"{where}.{key}: expected a list of whole numbers")
    return found


def _lods(node: dict[str, Any], where: str) -> list[int]:
    """The nodes that replace one farther off, from the finest on."""
    found = _indices(extension(node, "MSFT_lod", where) or {}, "ids", f"{where}.MSFT_lod")
    if len(found) > MAX_LEVELS:
        raise BadInput(f"{where}.MSFT_lod: {len(found)} levels, at most {MAX_LEVELS} are read")
    return found


def _is_hidden(node: dict[str, Any], name: str, where: str, engine: str) -> bool:
    """Whether a node and those below it are not shown at all."""
    visibility = extension(node, "KHR_node_visibility", where)
    hidden = visibility is not None and visibility.get("visible") is False
    return hidden or (engine in _NOT_DRAWN and bool(_NOT_DRAWN[engine].search(name)))


def _level_of(name: Any, engine: str) -> int | None:
    """The level of detail that a node's name says it is of. Raises BadInput where that is past all that are read."""
    match = _LEVEL[engine].search(name) if engine in _LEVEL and isinstance(name, str) else None
    if match is not None and int(match[1]) > MAX_LEVELS:
        raise BadInput(f"nodes: {excerpt(name)}, and levels up to {MAX_LEVELS} are read")
    return None if match is None else int(match[1])


def _finest(gltf: Gltf, engine: str) -> int:
    """The finest level of detail that nodes are named by: not 0 in a file that holds a later one alone."""
    levels = [_level_of(node.get("name"), engine) for node in items(gltf.document, "nodes")] if engine in _LEVEL else []
    return min((level for level in levels if level is not None), default=0)


def _other_level(name: str, engine: str, level: int, found: Nodes, finest: int) -> bool:
    """Whether a node is of another level of detail, by its name."""
    own = _level_of(name, engine)
    found.levels = max(found.levels, 0 if own is None else own - finest)
    return own is not None and own != level
