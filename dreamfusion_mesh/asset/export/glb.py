"""An asset as one binary glTF 2.0 file. The same asset gives the same bytes.

Source: Khronos glTF 2.0 specification, sections 3.7 (geometry), 3.9 (materials), 4.4 (GLB layout).
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from dreamfusion_mesh import __version__
from dreamfusion_mesh.asset.export.corners import Corners, export_surface, split_corners
from dreamfusion_mesh.asset.export.names import MAP_SUFFIXES, safe_name
from dreamfusion_mesh.asset.export.png import png_bytes
from dreamfusion_mesh.records import Asset, Material, TextureMap

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963  # buffer targets
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP = 9729, 9987, 33071
_MAX_NOTE_LENGTH = 2000  # characters of one provenance entry that go into the file


def glb_bytes(asset: Asset) -> bytes:
    """One node without transform, one mesh of one primitive, one material with every factor written out, PNG textures inside.

    Raises ValueError where the mesh has no faces, no UVs, or values that are not finite.
    """
    corners = split_corners(export_surface(asset.mesh), tangents="normal" in asset.material.maps)
    binary = _Binary()
    name = safe_name(asset.name)
    primitive = {"attributes": _attributes(corners, binary), "indices": _indices(corners, binary), "material": 0, "mode": 4}
    images = [_image(f"{name}_{MAP_SUFFIXES[role]}", image, binary) for role, image in asset.material.maps.items()]
    document = {
        "asset": {"version": "2.0", "generator": f"dreamfusion_mesh {__version__}", "extras": _notes(asset.provenance)},
        "scene": 0,
        "scenes": [{"name": name, "nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "meshes": [{"name": name, "primitives": [primitive]}],
        "materials": [_material(asset.material, name)],
        "textures": [{"sampler": 0, "source": index} for index in range(len(images))],
        "samplers": [{"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR, "wrapS": _CLAMP, "wrapT": _CLAMP}],
        "images": images,
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    return _container(document, bytes(binary.data))


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


def _indices(corners: Corners, binary: _Binary) -> int:
    small = len(corners.positions) < 65536  # 65535 itself is the restart value, and an index below the count
    values = corners.indices.reshape(-1).astype("<u2" if small else "<u4")
    return binary.add_array(values, "SCALAR", _UINT16 if small else _UINT32, _INDICES)


def _image(name: str, image: TextureMap, binary: _Binary) -> dict[str, Any]:
    return {"bufferView": binary.add(png_bytes(image.pixels)), "mimeType": "image/png", "name": name}


def _material(material: Material, name: str) -> dict[str, Any]:
    """glTF's material; its textures have the indices of `material.maps`."""
    texture = {role: {"index": index, "texCoord": 0} for index, role in enumerate(material.maps)}
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


def _notes(provenance: dict[str, Any]) -> dict[str, Any]:
    """The plain values of the provenance, and of records in it one level down; the whole of it lies beside the file."""
    notes: dict[str, Any] = {}
    for key, value in provenance.items():
        kept = {name: part for name, part in value.items() if _plain(part)} if isinstance(value, dict) else value
        if _plain(kept) or (isinstance(kept, dict) and kept):
            notes[str(key)] = kept
    return notes


def _plain(value: Any) -> bool:
    if isinstance(value, float):
        return bool(np.isfinite(value))
    return isinstance(value, bool | int) or value is None or (isinstance(value, str) and len(value) <= _MAX_NOTE_LENGTH)


def _container(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
