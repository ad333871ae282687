"""One primitive of a glTF's mesh as separate face corners in the scene: strips and fans, packed data, morph targets, skins, transforms.

Source: Khronos glTF 2.0 specification, section 3.7 (meshes and skins).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.accessors import accessor, as_float, floats, is_normalized
from dreamfusion_mesh.audit.readers.draco import unpacked
from dreamfusion_mesh.audit.readers.extensions import Needs, Unread
from dreamfusion_mesh.audit.readers.files import excerpt
from dreamfusion_mesh.audit.readers.gltf import Gltf, integer, is_integer, item, json_object
from dreamfusion_mesh.audit.readers.nodes import Drawn, Nodes, add_unknown, numbers
from dreamfusion_mesh.audit.readers.paint import UvUse
from dreamfusion_mesh.errors import BadInput

_SKIN_FACES = 100_000  # whose matrices are held at once


@dataclass(eq=False)
class Corners:
    """Corners of faces: positions [F, 3, 3], and where the primitive has them UVs [F, 3, 2], normals [F, 3, 3], tangents [F, 3, 4]."""

    positions: np.ndarray
    uvs: np.ndarray | None
    normals: np.ndarray | None
    tangents: np.ndarray | None

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Corners:
        """The same change of all that is there."""
        others = (None if values is None else change(values) for values in (self.uvs, self.normals, self.tangents))
        return Corners(change(self.positions), *others)


def join(parts: list[Corners]) -> Corners:
    """One after another; without what one of them lacks."""

    def joined(values: list[np.ndarray | None]) -> np.ndarray | None:
        there = [value for value in values if value is not None]
        return np.concatenate(there) if len(there) == len(values) else None

    positions = np.concatenate([part.positions for part in parts])
    others = ([part.uvs for part in parts], [part.normals for part in parts], [part.tangents for part in parts])
    return Corners(positions, *map(joined, others))


class Primitive:
    """One primitive, and how its attributes are got at."""

    def __init__(self, gltf: Gltf, entry: dict[str, Any], where: str) -> None:
        self.gltf, self.entry, self.where = gltf, entry, where
        self.attributes = json_object(entry, "attributes", where)
        self.packed = unpacked(gltf, entry, where) or {}
        stored = self._stored("POSITION")
        self.count, self.faces = len(stored), np.empty((0, 3), np.int64)

    def corners(self, name: str, width: int | None = None, attributes: dict[str, Any] | None = None) -> np.ndarray:
        """An attribute's values at the corners of `faces`, [F, 3, components] float64. Raises BadInput, Needs."""
        named = self.attributes if attributes is None else attributes
        stored = self._stored(name) if attributes is None else accessor(self.gltf, named[name], f"{self.where}.{name}")
        if len(stored) != self.count or (width is not None and stored.shape[1] != width):
            wanted = "" if width is None else f" of {width} numbers"
            raise BadInput(f"{self.where}.{name}: {len(stored)} values of {stored.shape[1]} numbers for {self.count} vertices{wanted}")
        self.gltf.count(self.faces.size * stored.shape[1])
        normalized = is_integer(named.get(name)) and is_normalized(self.gltf, named[name])
        return as_float(stored[self.faces], normalized)

    def _stored(self, name: str) -> np.ndarray:
        if name in self.packed:
            item(self.gltf, "accessors", self.attributes.get(name), f"{self.where}.{name}")
            return self.packed[name].reshape(len(self.packed[name]), -1)
        return accessor(self.gltf, self.attributes.get(name), f"{self.where}.{name}")

    def read_faces(self) -> None:
        """Set `faces`, [F, 3] rows of vertices, from indices of any mode that makes triangles. Raises BadInput."""
        rows = np.arange(self.count)
        if "indices" in self.packed:
            rows = self.packed["indices"].astype(np.int64)
        elif "indices" in self.entry:
            stored = accessor(self.gltf, self.entry["indices"], f"{self.where}.indices")
            if stored.dtype.kind != "u" or stored.shape[1] != 1:
                raise BadInput(f"{self.where}.indices: expected unsigned whole numbers")
            self.gltf.count(stored.size)
            rows = stored[:, 0].astype(np.int64)
        mode = 4 if "indices" in self.packed else self.entry.get("mode", 4)
        short = len(rows) % 3 if mode == 4 else len(rows) < 3
        if short or rows.max() >= self.count:
            expected = "a multiple of 3" if mode == 4 else "3 or more"
            raise BadInput(f"{self.where}.indices: {len(rows)} up to {rows.max(initial=0)}, expected {expected}, all below {self.count}")
        self.faces = _triangles(rows, mode)


def draws_triangles(entry: dict[str, Any], where: str, unread: Unread) -> bool:
    """Whether a primitive is one of triangles; the surface is unread where it is one of points or lines. Raises BadInput."""
    mode = entry.get("mode", 4)
    if not is_integer(mode) or not 0 <= mode <= 6:
        raise BadInput(f"{where}.mode: {excerpt(mode)}, expected 0 to 6")
    if mode < 4:
        unread.add(f"{where} draws {'points' if mode == 0 else 'lines'}, which are no part of a surface", "surface")
    add_unknown(entry, where, unread)
    return mode >= 4


def read_primitive(primitive: Primitive, drawn: Drawn, mesh: dict[str, Any], nodes: Nodes, use: UvUse, unread: Unread) -> list[Corners]:
    """The corners of a primitive whose faces were read, for each instance that a node draws. Raises BadInput, Needs."""
    found = Corners(primitive.corners("POSITION", 3), None, None, None)
    if f"TEXCOORD_{use.number}" in primitive.attributes:
        found.uvs = _optional(primitive, f"TEXCOORD_{use.number}", 2, unread, "uvs")
    if "NORMAL" in primitive.attributes:
        found.normals = _optional(primitive, "NORMAL", 3, unread, "normals")
    if "TANGENT" in primitive.attributes and found.normals is not None:
        found.tangents = _optional(primitive, "TANGENT", 4, unread, "normals")
    _morph(primitive, drawn.node, mesh, found, f"TEXCOORD_{use.number}")
    if found.uvs is not None:
        with np.errstate(all="ignore"):  # what is not finite is refused with all other corners
            found.uvs = use.apply(found.uvs)
    if "COLOR_0" in primitive.attributes and not (primitive.corners("COLOR_0") == 1).all():
        unread.add(f"{primitive.where}: COLOR_0 is multiplied with the base colour, which is measured by itself", "materials", "images")
    if "skin" in drawn.node:
        return [_skinned(primitive, drawn.node, nodes, found)]
    return [found if np.array_equal(matrix, np.eye(4)) else _moved(found, matrix) for matrix in drawn.matrices]


def _optional(primitive: Primitive, name: str, width: int, unread: Unread, part: Any) -> np.ndarray | None:
    try:
        return primitive.corners(name, width)
    except Needs as error:
        unread.add(str(error), part)
        return None


def _triangles(rows: np.ndarray, mode: int) -> np.ndarray:
    """[F, 3] of indices by primitive mode (section 3.7.2.1); triangles of a strip that only lead on to its next part are left out."""
    if mode == 4:
        return rows.reshape(-1, 3)
    if mode == 6:
        return np.stack([rows[1:-1], rows[2:], np.full(len(rows) - 2, rows[0])], axis=1)
    odd = np.arange(len(rows) - 2) % 2
    first = np.arange(len(rows) - 2)
    found = np.stack([rows[first], rows[first + 1 + odd], rows[first + 2 - odd]], axis=1)
    return found[(found[:, 0] != found[:, 1]) & (found[:, 1] != found[:, 2]) & (found[:, 2] != found[:, 0])]


def _morph(primitive: Primitive, node: dict[str, Any], mesh: dict[str, Any], found: Corners, uv_name: str) -> None:
    """Add the morph targets by the node's weights, or the mesh's (section 3.7.2.2)."""
    targets = primitive.entry.get("targets", [])
    if not isinstance(targets, list) or not all(isinstance(target, dict) for target in targets):
        raise BadInput(f"{primitive.where}.targets: expected a list of objects")
    owner = node if "weights" in node else mesh
    if not targets or "weights" not in owner:
        return
    for target, weight in zip(targets, numbers(owner, "weights", len(targets), [], primitive.where), strict=True):
        for name, values in ((uv_name, found.uvs), ("NORMAL", found.normals), ("TANGENT", found.tangents), ("POSITION", found.positions)):
            if weight and values is not None and name in target:
                with np.errstate(all="ignore"):
                    values[..., : 2 if name == uv_name else 3] += weight * primitive.corners(name, attributes=target)


def _moved(found: Corners, matrix: np.ndarray) -> Corners:
    """The corners by one matrix [4, 4]; one that mirrors turns the winding (section 3.7.4)."""
    with np.errstate(all="ignore"):
        mirrors = np.linalg.det(matrix[:3, :3]) < 0
        moved = _placed(found, matrix)
    if mirrors:
        return moved.each(lambda values: values[:, ::-1])
    return moved


def _placed(found: Corners, matrix: np.ndarray) -> Corners:
    """The corners by a matrix [4, 4], or one for each corner [F, 3, 4, 4].

    Summed number by number: equal positions stay equal, which products of whole matrices do not promise. Normals go by the cofactors,
    that is, the inverse transposed without its division; both they and tangents keep their lengths.
    """
    m, p = matrix[..., :3, :3], found.positions
    positions = np.stack([m[..., i, 0] * p[..., 0] + m[..., i, 1] * p[..., 1] + m[..., i, 2] * p[..., 2] for i in range(3)], axis=-1)
    positions += matrix[..., :3, 3]
    a, b, c = m[..., 0, :], m[..., 1, :], m[..., 2, :]
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=-2)
    sign = np.sign((a * cofactors[..., 0, :]).sum(axis=-1))
    normals = None if found.normals is None else _turned(found.normals, cofactors * sign[..., None, None])
    tangents = None
    if found.tangents is not None:
        hand = np.broadcast_to(sign, found.tangents.shape[:2]) * found.tangents[..., 3]  # a mirror swaps the bitangent's side
        tangents = np.concatenate([_turned(found.tangents[..., :3], m), hand[..., None]], axis=-1)
    return Corners(positions, found.uvs, normals, tangents)


def _turned(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    turned = (matrix * vectors[..., None, :]).sum(axis=-1)
    lengths = np.linalg.norm(turned, axis=-1, keepdims=True)
    return turned * np.divide(np.linalg.norm(vectors, axis=-1, keepdims=True), lengths, out=np.zeros_like(lengths), where=lengths > 0)


def _skinned(primitive: Primitive, node: dict[str, Any], nodes: Nodes, found: Corners) -> Corners:
    """The corners by their joints as they stand; the node's own place does not matter (section 3.7.3)."""
    matrices = _joint_matrices(primitive.gltf, node, nodes)
    joints, weights = list[np.ndarray](), list[np.ndarray]()
    while f"JOINTS_{len(joints)}" in primitive.attributes:
        with np.errstate(invalid="ignore"):
            joints.append(primitive.corners(f"JOINTS_{len(joints)}", 4).astype(np.int64))
        weights.append(primitive.corners(f"WEIGHTS_{len(weights)}", 4))
    if not joints or max(int(rows.max()) for rows in joints) >= len(matrices) or min(int(rows.min()) for rows in joints) < 0:
        raise BadInput(f"{primitive.where}: JOINTS_0 is missing, or names a joint past the {len(matrices)} of its skin")
    parts = []
    with np.errstate(all="ignore"):
        for first in range(0, len(found.positions), _SKIN_FACES):
            part = slice(first, first + _SKIN_FACES)
            some = found.each(lambda values, part=part: values[part])  # type: ignore[misc]
            blended = np.zeros((*some.positions.shape[:2], 4, 4))
            for rows, shares in zip(joints, weights, strict=True):
                for i in range(4):
                    blended += shares[part, :, i, None, None] * matrices[rows[part, :, i]]
            parts.append(_placed(some, blended))
    return join(parts)


def _joint_matrices(gltf: Gltf, node: dict[str, Any], nodes: Nodes) -> np.ndarray:
    """[J, 4, 4] of a node's skin: from the mesh's space at binding to where each joint is now. Raises Needs, BadInput."""
    where = f"skins[{excerpt(node['skin'])}]"
    skin = item(gltf, "skins", node["skin"], "nodes")
    joints = skin.get("joints")
    if not isinstance(joints, list) or not joints or not all(is_integer(joint) for joint in joints):
        raise BadInput(f"{where}.joints: expected a list of nodes")
    absent = [joint for joint in joints if joint not in nodes.worlds]
    if absent:
        raise Needs(f"{where}: its joint nodes[{absent[0]}] is not in the scene")
    worlds = np.stack([nodes.worlds[joint] for joint in joints])
    if "inverseBindMatrices" not in skin:
        return worlds
    integer(skin, "inverseBindMatrices", where)
    stored = floats(gltf, skin["inverseBindMatrices"], f"{where}.inverseBindMatrices")
    if stored.shape[1] != 16 or len(stored) < len(joints):
        raise BadInput(f"{where}.inverseBindMatrices: {len(stored)} of {stored.shape[1]} numbers, expected {len(joints)} of 16")
    with np.errstate(all="ignore"):
        return worlds @ stored[: len(joints)].reshape(-1, 4, 4).swapaxes(1, 2)
