"""A binary glTF 2.0 file as it grows: nodes, surfaces with one index, hulls, materials with every factor written out, PNG images inside.

Source: Khronos glTF 2.0 specification, sections 3.5 (nodes), 3.7 (geometry), 3.9 (materials), 4.4 (GLB layout).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dreamfusion_mesh import __version__
from dreamfusion_mesh.asset.export.corners import Corners, export_surface, split_corners, used_points
from dreamfusion_mesh.asset.export.png import PngFiles
from dreamfusion_mesh.records import Material, Mesh

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963  # buffer targets
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP = 9729, 9987, 33071


class Document:
    """Parts are added and known by their index; the same parts in the same order give the same bytes."""

    def __init__(self, images: PngFiles) -> None:
        self._images = images
        self._binary = _Binary()
        self._parts: dict[str, list[dict[str, Any]]] = {"nodes": [], "meshes": [], "materials": [], "textures": [], "images": []}

    def add_node(self, name: str, mesh: int | None = None, children: Sequence[int] = ()) -> int:
        """A node without a transform."""
        plain: dict[str, Any] = {"name": name}
        return self._add("nodes", plain | ({} if mesh is None else {"mesh": mesh}) | ({"children": list(children)} if children else {}))

    def extend_node(self, node: int, content: Mapping[str, Any]) -> None:
        """Put extensions or extras on a node."""
        self._parts["nodes"][node] |= content

    def add_surface(self, name: str, mesh: Mesh, material: int, tangents: bool) -> int:
        """A mesh of one primitive. Raises ValueError where it has no faces, no UVs, or values that are not finite."""
        corners = split_corners(export_surface(mesh), tangents)
        attributes, indices = _attributes(corners, self._binary), _indices(corners.indices, len(corners.positions), self._binary)
        return self._add_mesh(name, {"attributes": attributes, "indices": indices, "material": material})

    def add_hull(self, name: str, mesh: Mesh) -> int:
        """A mesh of positions alone. Raises ValueError where it has no faces, or values that are not finite."""
        positions, faces = used_points(mesh)
        attributes = {"POSITION": self._binary.add_array(positions.astype("<f4"), "VEC3", _FLOAT, _VERTICES, bounds=True)}
        return self._add_mesh(name, {"attributes": attributes, "indices": _indices(faces, len(positions), self._binary)})

    def add_material(self, name: str, material: Material, image_names: Mapping[str, str]) -> int:
        """A material and its textures; `image_names` by their role."""
        first = len(self._parts["textures"])
        for role, image in material.maps.items():
            view = self._binary.add(self._images.png(image.pixels))
            source = self._add("images", {"bufferView": view, "mimeType": "image/png", "name": image_names[role]})
            self._add("textures", {"name": image_names[role], "sampler": 0, "source": source})
        return self._add("materials", _material(material, name, first))

    def glb(self, scene: str, roots: Sequence[int], notes: Mapping[str, Any], extensions: Sequence[str] = ()) -> bytes:
        """The file, whose scene shows the nodes `roots`; `notes` are its extras."""
        sampler = {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR, "wrapS": _CLAMP, "wrapT": _CLAMP}
        document = {
            "asset": {"version": "2.0", "generator": f"dreamfusion_mesh {__version__}", "extras": dict(notes)},
            "extensionsUsed": list(extensions),
            "scene": 0,
            "scenes": [{"name": scene, "nodes": list(roots)}],
            **self._parts,
            "samplers": [sampler] if self._parts["textures"] else [],
            "accessors": self._binary.accessors,
            "bufferViews": self._binary.views,
            "buffers": [{"byteLength": len(self._binary.data)}],
        }
        return _container({key: value for key, value in document.items() if value != []}, bytes(self._binary.data))

    def _add_mesh(self, name: str, primitive: dict[str, Any]) -> int:
        return self._add("meshes", {"name": name, "primitives": [{**primitive, "mode": 4}]})

    def _add(self, kind: str, entry: dict[str, Any]) -> int:
        self._parts[kind].append(entry)
        return len(self._parts[kind]) - 1


class _Binary:
    """The file's binary part as it grows: views and accessors, each aligned to four bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, content: bytes, target: int | None = None) -> int:
        """The index of a new view."""
        self.data += bytes(-len(self.data) % 4)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view if target is None else {**view, "target": target})
        self.data += content
        return len(self.views) - 1

    def add_array(self, values: np.ndarray, kind: str, component: int, target: int, bounds: bool = False) -> int:
        """The index of a new accessor for little-endian `values`, with `min` and `max` where `bounds`."""
        view = self.add(values.tobytes(), target)
        entry: dict[str, Any] = {"bufferView": view, "componentType": component, "count": len(values), "type": kind}
        if bounds:
            entry |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1


def _attributes(corners: Corners, binary: _Binary) -> dict[str, int]:
    uvs = corners.uvs.copy()
    uvs[:, 1] = 1 - uvs[:, 1]  # glTF's origin is top-left
    names = {
        "POSITION": binary.add_array(corners.positions.astype("<f4"), "VEC3", _FLOAT, _VERTICES, bounds=True),
        "NORMAL": binary.add_array(corners.normals.astype("<f4"), "VEC3", _FLOAT, _VERTICES),
        "TEXCOORD_0": binary.add_array(uvs.astype("<f4"), "VEC2", _FLOAT, _VERTICES),
    }
    if corners.tangents is not None:
        names["TANGENT"] = binary.add_array(corners.tangents.astype("<f4"), "VEC4", _FLOAT, _VERTICES)
    return names


def _indices(faces: np.ndarray, vertices: int, binary: _Binary) -> int:
    small = vertices < 65536  # 65535 itself is the restart value, and an index below the count
    values = faces.reshape(-1).astype("<u2" if small else "<u4")
    return binary.add_array(values, "SCALAR", _UINT16 if small else _UINT32, _INDICES)


def _material(material: Material, name: str, first: int) -> dict[str, Any]:
    """glTF's material; its textures begin at index `first`, in the order of `material.maps`."""
    texture = {role: {"index": index, "texCoord": 0} for index, role in enumerate(material.maps, start=first)}
    metallic_roughness: dict[str, Any] = {
        "baseColorFactor": [*map(float, material.base_color_factor), 1.0],
        "baseColorTexture": texture["base_color"],
        "metallicFactor": float(material.metallic_factor),
        "roughnessFactor": float(material.roughness_factor),
    }
    entry = {
        "name": name,
        "pbrMetallicRoughness": metallic_roughness,
        "emissiveFactor": [0.0, 0.0, 0.0],
        "alphaMode": "OPAQUE",
        "doubleSided": False,
    }
    if "orm" in texture:
        metallic_roughness["metallicRoughnessTexture"] = texture["orm"]
        entry["occlusionTexture"] = {**texture["orm"], "strength": 1.0}
    if "normal" in texture:
        entry["normalTexture"] = {**texture["normal"], "scale": 1.0}
    return entry


def _container(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
