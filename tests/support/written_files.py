"""Small delivered files made by hand, so that one thing at a time can be broken in them."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 256  # texels
_AXES = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def png(size: int | tuple[int, int] = SIZE, mode: str = "RGB", **options: Any) -> bytes:
    width, height = size if isinstance(size, tuple) else (size, size)
    file = io.BytesIO()
    Image.new(mode, (width, height), 128).save(file, "PNG", **options)
    return file.getvalue()


def png_with(chunk: bytes, body: bytes, plain: bytes | None = None) -> bytes:
    """A PNG with one more chunk right after its header."""
    plain = plain or png()
    return plain[:33] + struct.pack(">I", len(body)) + chunk + body + struct.pack(">I", zlib.crc32(chunk + body)) + plain[33:]


@dataclass
class Draft:
    """A box of 1 x 1 x 1 metres on the ground, six square charts 8 texels apart, one material; `change` edits the JSON last."""

    positions: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray  # origin top-left, as glTF has it
    faces: np.ndarray
    image: bytes = field(default_factory=png)
    extra_images: list[bytes] = field(default_factory=list)
    tangents: np.ndarray | None = None
    change: Callable[[dict[str, Any]], None] = lambda document: None

    def document_and_binary(self) -> tuple[dict[str, Any], bytes]:
        arrays = [
            (self.positions.astype("<f4"), "VEC3", 5126, 34962),
            (self.normals.astype("<f4"), "VEC3", 5126, 34962),
            (self.uvs.astype("<f4"), "VEC2", 5126, 34962),
            (self.faces.astype("<u4").reshape(-1, 1), "SCALAR", 5125, 34963),
        ]
        attributes = {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}
        if self.tangents is not None:
            attributes["TANGENT"] = len(arrays)
            arrays.append((self.tangents.astype("<f4"), "VEC4", 5126, 34962))
        binary, views, accessors = b"", [], []
        for index, (values, kind, component, target) in enumerate(arrays):
            views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes, "target": target})
            accessors.append({"bufferView": index, "componentType": component, "count": len(values), "type": kind})
            binary += values.tobytes()
        accessors[0] |= {"min": arrays[0][0].min(axis=0).tolist(), "max": arrays[0][0].max(axis=0).tolist()}
        images = []
        for data in (self.image, *self.extra_images):
            images.append({"bufferView": len(views), "mimeType": "image/png"})
            views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data)})
            binary += data + bytes(-len(data) % 4)
        pbr = {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0.0, "roughnessFactor": 0.8, "baseColorTexture": {"index": 0}}
        document = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": "box"}],
            "meshes": [{"primitives": [{"attributes": attributes, "indices": 3, "material": 0}]}],
            "materials": [{"pbrMetallicRoughness": pbr}],
            "textures": [{"source": i} for i in range(len(images))],
            "images": images,
            "accessors": accessors,
            "bufferViews": views,
            "buffers": [{"byteLength": len(binary)}],
        }
        self.change(document)
        return document, binary

    def glb(self) -> bytes:
        return pack(*self.document_and_binary())

    def write(self, folder: Path) -> Path:
        path = folder / "asset.glb"
        path.write_bytes(self.glb())
        return path

    def write_obj(self, folder: Path) -> Path:
        lines = ["mtllib asset.mtl", *(f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in self.positions)]
        lines += [f"vt {u:.9g} {1 - v:.9g}" for u, v in self.uvs]
        lines += ["usemtl box", *(f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in self.faces + 1)]
        (folder / "asset.mtl").write_text("newmtl box\nKd 1 1 1\nPr 0.8\nPm 0\nmap_Kd color.png\n")
        (folder / "color.png").write_bytes(self.image)
        path = folder / "asset.obj"
        path.write_text("\n".join(lines) + "\n")
        return path


def add_accessor(document: dict[str, Any], values: np.ndarray, **entry: Any) -> int:
    """Append an accessor over values [N, components] or [N] in a buffer of their own, as a data: URI; its index."""
    kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[values.reshape(len(values), -1).shape[1]]
    component = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}[values.dtype.str[1:]]
    document["buffers"].append({"byteLength": values.nbytes, "uri": data_uri(values.tobytes())})
    document["bufferViews"].append({"buffer": len(document["buffers"]) - 1, "byteLength": values.nbytes})
    view = {"bufferView": len(document["bufferViews"]) - 1}
    document["accessors"].append({**view, "componentType": component, "count": len(values), "type": kind, **entry})
    return len(document["accessors"]) - 1


def data_uri(data: bytes) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(data).decode()


def pack(document: dict[str, Any] | bytes, binary: bytes) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    length = 28 + len(text) + len(binary)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            binary,
        ]
    )


def box(cells: int = 10) -> Draft:
    """Each side is `cells` x `cells` squares of two triangles: 12 cells^2 faces."""
    steps = np.arange(cells + 1)
    s, t = (grid.ravel() for grid in np.meshgrid(steps / cells, steps / cells, indexing="xy"))
    rows = (steps[:-1, None] * (cells + 1) + steps[None, :-1]).ravel()
    quads = np.stack([rows, rows + 1, rows + cells + 2, rows + cells + 1], axis=1)
    sheet = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    positions, normals, uvs, faces = [], [], [], []
    for side in range(6):
        along, across, out = _AXES[side % 3]
        front = side < 3
        place = np.zeros((len(s), 3))
        place[:, along], place[:, across], place[:, out] = (s if front else 1 - s), t, float(front)
        outwards = (place == 1).astype(float) - (place == 0)  # of all sides that meet there: one normal on both sides of a seam
        corner = np.array([8 + 85 * (side % 3), 8 + 85 * (side // 3)])
        texels = corner + np.stack([s, 1 - t], axis=1) * 77
        faces.append(sheet + side * len(s))
        positions.append(place - [0.5, 0, 0.5])
        normals.append(outwards / np.linalg.norm(outwards, axis=1, keepdims=True))
        uvs.append(texels / SIZE)
    return Draft(np.concatenate(positions), np.concatenate(normals), np.concatenate(uvs), np.concatenate(faces))
