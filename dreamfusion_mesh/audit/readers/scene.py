"""What a glTF's default scene draws, as one surface in world space, and the material on it.

Source: Khronos glTF 2.0 specification, sections 3.5 (scenes), 3.7 (meshes), 3.9 (materials).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.files import MAX_TRIANGLES
from dreamfusion_mesh.audit.readers.gltf import Gltf, accessor, as_float, image_bytes, integer, is_integer, item, json_object
from dreamfusion_mesh.audit.readers.written import Map, Materials, Written, from_corners
from dreamfusion_mesh.errors import BadInput

_FACTORS = ("baseColorFactor", "metallicFactor", "roughnessFactor")


@dataclass(frozen=True, eq=False)
class _Part:
    corners: np.ndarray  # [F, 3, 3]
    uvs: np.ndarray | None  # [F, 3, 2]
    material: int | None


def read_scene(gltf: Gltf, engine: str = "generic") -> Written:
    """Everything the default scene draws, in world space. Raises BadInput where it cannot be read as triangles."""
    roots = _roots(gltf)
    parts, triangles = list[_Part](), 0
    for matrix, mesh in _placed_meshes(gltf, roots):
        for part in _parts(gltf, mesh, matrix):
            parts.append(part)
            triangles += len(part.corners)
            if triangles > MAX_TRIANGLES:
                raise BadInput(f"scene: more than the {MAX_TRIANGLES} triangles that are read")
    if not parts:
        raise BadInput("scene: it draws no triangles")
    matrices = {root: _matrix(item(gltf, "nodes", root, "scene"), root) for root in roots}
    transformed = tuple(f"nodes[{root}]" for root, matrix in matrices.items() if not np.array_equal(matrix, np.eye(4)))
    uvs = None if any(part.uvs is None for part in parts) else np.concatenate([part.uvs for part in parts if part.uvs is not None])
    return from_corners("glTF", np.concatenate([part.corners for part in parts]), uvs, _materials(gltf, parts), transformed)


def _roots(gltf: Gltf) -> list[int]:
    scene = item(gltf, "scenes", gltf.document.get("scene", 0), "scene")
    return _indices(scene, "nodes", "scene")


def _indices(entry: dict[str, Any], key: str, where: str) -> list[int]:
    found = entry.get(key, [])
    if not isinstance(found, list) or not all(is_integer(index) for index in found):
        raise BadInput(f"{where}.{key}: expected a list of whole numbers")
    return found


def _placed_meshes(gltf: Gltf, roots: list[int]) -> list[tuple[np.ndarray, int]]:
    """World matrix and mesh of each node below the roots; each node is met once, so a cycle cannot hold it."""
    found, seen = [], set[int]()
    waiting = [(root, np.eye(4)) for root in reversed(roots)]
    while waiting:
        index, parent = waiting.pop()
        node = item(gltf, "nodes", index, "scene")
        if index in seen:
            raise BadInput(f"nodes[{index}]: has two parents, or is its own")
        seen.add(index)
        matrix = parent @ _matrix(node, index)
        if "mesh" in node:
            found.append((matrix, integer(node, "mesh", f"nodes[{index}]")))
        waiting += [(child, matrix) for child in reversed(_indices(node, "children", f"nodes[{index}]"))]
    return found


def _matrix(node: dict[str, Any], index: int) -> np.ndarray:
    where = f"nodes[{index}]"
    if "matrix" in node:
        return _numbers(node, "matrix", 16, [], where).reshape(4, 4).T
    x, y, z, w = _numbers(node, "rotation", 4, [0, 0, 0, 1], where)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * _numbers(node, "scale", 3, [1, 1, 1], where)
    matrix[:3, 3] = _numbers(node, "translation", 3, [0, 0, 0], where)
    return matrix


def _numbers(entry: dict[str, Any], key: str, count: int, default: list[float], where: str) -> np.ndarray:
    value = entry.get(key, default)
    try:
        numbers = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise BadInput(f"{where}.{key}: expected {count} finite numbers")
    return numbers


def _parts(gltf: Gltf, mesh: int, matrix: np.ndarray) -> Iterator[_Part]:
    entry = item(gltf, "meshes", mesh, "nodes")
    primitives = entry.get("primitives")
    if not isinstance(primitives, list) or not all(isinstance(primitive, dict) for primitive in primitives):
        raise BadInput(f"meshes[{mesh}].primitives: expected a list of objects")
    for i, primitive in enumerate(primitives):
        yield _part(gltf, primitive, f"meshes[{mesh}].primitives[{i}]", matrix)


def _part(gltf: Gltf, primitive: dict[str, Any], where: str, matrix: np.ndarray) -> _Part:
    if primitive.get("mode", 4) != 4:
        raise BadInput(f"{where}.mode: {primitive['mode']}, only triangles (4) are read")
    attributes = json_object(primitive, "attributes", where)
    positions = as_float(accessor(gltf, attributes.get("POSITION"), f"{where}.POSITION"))
    faces = _faces(gltf, primitive, len(positions), where)
    if positions.shape[1] != 3 or not np.isfinite(positions[faces]).all():
        raise BadInput(f"{where}.POSITION: expected 3 finite numbers a vertex")
    if not np.array_equal(matrix, np.eye(4)):
        alike, rows = np.unique(positions, axis=0, return_inverse=True)  # one position stays one, however rows are rounded
        positions = (alike @ matrix[:3, :3].T + matrix[:3, 3])[rows.reshape(-1)]
        faces = faces if np.linalg.det(matrix[:3, :3]) > 0 else faces[:, ::-1]  # a mirroring node turns the winding (section 3.7.4)
    material = integer(primitive, "material", where) if "material" in primitive else None
    return _Part(positions[faces], _corner_uvs(gltf, attributes, faces, len(positions), where), material)


def _faces(gltf: Gltf, primitive: dict[str, Any], count: int, where: str) -> np.ndarray:
    corners = np.arange(count)
    if "indices" in primitive:
        stored = accessor(gltf, primitive["indices"], f"{where}.indices")
        if stored.dtype.kind != "u" or stored.shape[1] != 1:
            raise BadInput(f"{where}.indices: expected unsigned whole numbers")
        corners = stored[:, 0].astype(np.int64)
    if len(corners) % 3 or corners.max() >= count:
        raise BadInput(f"{where}.indices: {len(corners)} up to {corners.max()}, expected a multiple of 3, all below {count}")
    return corners.reshape(-1, 3)


def _corner_uvs(gltf: Gltf, attributes: dict[str, Any], faces: np.ndarray, count: int, where: str) -> np.ndarray | None:
    if "TEXCOORD_0" not in attributes:
        return None
    index = attributes["TEXCOORD_0"]
    stored = accessor(gltf, index, f"{where}.TEXCOORD_0")
    if stored.shape != (count, 2):
        raise BadInput(f"{where}.TEXCOORD_0: shape {list(stored.shape)}, expected {[count, 2]}")
    uvs = as_float(stored, gltf.document["accessors"][index].get("normalized") is True)
    if not np.isfinite(uvs[faces]).all():
        raise BadInput(f"{where}.TEXCOORD_0: has numbers that are not finite")
    return np.stack([uvs[:, 0], 1.0 - uvs[:, 1]], axis=1)[faces]  # glTF's origin is top-left


def _materials(gltf: Gltf, parts: list[_Part]) -> Materials:
    used = sorted({part.material for part in parts if part.material is not None})
    count = len(used) + any(part.material is None for part in parts)
    if len(used) != 1:
        return Materials(count)
    material, where = item(gltf, "materials", used[0], "primitive"), f"materials[{used[0]}]"
    pbr = json_object(material, "pbrMetallicRoughness", where)
    slots = (
        ("base color", pbr, "baseColorTexture"),
        ("metallic-roughness", pbr, "metallicRoughnessTexture"),
        ("occlusion", material, "occlusionTexture"),
        ("normal", material, "normalTexture"),
        ("emissive", material, "emissiveTexture"),
    )
    maps = tuple(_map(gltf, role, json_object(owner, slot, where), f"{where}.{slot}") for role, owner, slot in slots if slot in owner)
    missing = tuple(factor for factor in _FACTORS if factor not in pbr)
    if "emissiveTexture" in material and "emissiveFactor" not in material:
        missing = (*missing, "emissiveFactor")
    return Materials(count, maps, missing)


def _map(gltf: Gltf, role: str, slot: dict[str, Any], where: str) -> Map:
    if slot.get("texCoord", 0) != 0:
        raise BadInput(f"{where}.texCoord: {slot['texCoord']}, only the first UV set is read")
    texture = item(gltf, "textures", slot.get("index"), where)
    source = texture.get("source")
    return Map(role, f"images[{source}]", image_bytes(gltf, source, where))
