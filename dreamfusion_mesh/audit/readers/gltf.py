"""A glTF 2.0 file as it is on disk: its JSON, its accessors as arrays, its images as bytes.

The file is not trusted: every index, offset and length is checked against the bytes that are there, files are looked for beside the
.gltf alone, and whatever is wrong raises BadInput in one line. Read: core glTF 2.0 without sparse accessors or required extensions.
Source: Khronos glTF 2.0 specification, sections 3.6 (data), 4.4 (GLB layout).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from dreamfusion_mesh.audit.readers.files import excerpt, read_uri
from dreamfusion_mesh.errors import BadInput

MAX_JSON_BYTES = 64 << 20
MAX_ITEMS = 100_000  # of each kind: accessors, nodes, images ...

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True, eq=False)
class Gltf:
    """`document` is the JSON object, `buffers` the bytes of each of its buffers, `folder` where external files are looked for."""

    document: dict[str, Any]
    buffers: list[memoryview]
    folder: Path
    _checked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # lists that `items` has looked through, which takes time


def parse_gltf(data: bytes, folder: Path) -> Gltf:
    """Read a .glb or .gltf from its bytes; buffers are resolved at once. Raises BadInput."""
    if data[:4] == b"glTF":
        text, binary = _chunks(data)
    else:
        text, binary = data, None
    document = _document(text)
    views = [_buffer(entry, i, binary, folder) for i, entry in enumerate(items(document, "buffers"))]
    return Gltf(document, views, folder)


def items(document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The objects under a top-level name, such as "accessors"; empty where absent. Raises BadInput."""
    found = document.get(kind, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise BadInput(f"{kind}: expected a list of objects")
    if len(found) > MAX_ITEMS:
        raise BadInput(f"{kind}: {len(found)} of them, more than the {MAX_ITEMS} that are read")
    return found


def item(gltf: Gltf, kind: str, index: Any, where: str) -> dict[str, Any]:
    """One object by the index that `where` gives. Raises BadInput where there is no such."""
    if kind not in gltf._checked:
        gltf._checked[kind] = items(gltf.document, kind)
    found = gltf._checked[kind]
    if not is_integer(index) or not 0 <= index < len(found):
        raise BadInput(f"{where}: {kind}[{excerpt(index)}] is not there; the file has {len(found)}")
    return found[index]


def is_integer(value: Any) -> TypeGuard[int]:
    """True for a JSON integer (not true or false)."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer(entry: dict[str, Any], key: str, where: str, default: int | None = None, low: int = 0) -> int:
    """A required (or defaulted) JSON integer >= low. Raises BadInput."""
    value = entry.get(key, default)
    if not is_integer(value) or value < low:
        raise BadInput(f"{where}.{key}: {excerpt(value)}, expected a whole number, at least {low}")
    return value


def json_object(entry: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """A JSON object under `key`; empty where absent. Raises BadInput."""
    value = entry.get(key, {})
    if not isinstance(value, dict):
        raise BadInput(f"{where}.{key}: expected an object")
    return value


def view_bytes(gltf: Gltf, index: Any, where: str) -> memoryview:
    """The bytes of a buffer view. Raises BadInput where it leaves its buffer."""
    view = item(gltf, "bufferViews", index, where)
    name = f"bufferViews[{index}]"
    item(gltf, "buffers", view.get("buffer"), name)
    offset, length = integer(view, "byteOffset", name, 0), integer(view, "byteLength", name, low=1)
    buffer = gltf.buffers[view["buffer"]]
    if offset + length > len(buffer):
        raise BadInput(f"{name}: bytes {offset} to {offset + length} of a buffer of {len(buffer)}")
    return buffer[offset : offset + length]


def accessor(gltf: Gltf, index: Any, where: str) -> np.ndarray:
    """An accessor's values as stored, [count, components] in its own component type. Raises BadInput where it leaves its bytes."""
    entry = item(gltf, "accessors", index, where)
    name = f"accessors[{index}]"
    if "sparse" in entry or "bufferView" not in entry:
        raise BadInput(f"{name}: sparse or without a bufferView, which is not read; write its values out")
    dtype, width = _element(entry, name)
    count, offset = integer(entry, "count", name, low=1), integer(entry, "byteOffset", name, 0)
    data = view_bytes(gltf, entry["bufferView"], name)
    view = gltf.document["bufferViews"][entry["bufferView"]]
    size = dtype.itemsize * width
    stride = integer(view, "byteStride", f"bufferViews[{entry['bufferView']}]", size)
    if stride < size or (stride > 252 and stride != size):
        raise BadInput(f"bufferViews[{entry['bufferView']}].byteStride: {stride}, expected {size} to 252")
    if (offset + integer(view, "byteOffset", name, 0)) % dtype.itemsize or stride % dtype.itemsize:
        raise BadInput(f"{name}: starts or steps off the {dtype.itemsize}-byte boundary its numbers need")
    needed = offset + stride * (count - 1) + size
    if needed > len(data):
        raise BadInput(f"{name}: {count} values need {needed} bytes, its bufferView has {len(data)}")
    return np.ndarray((count, width), dtype, buffer=data, offset=offset, strides=(stride, dtype.itemsize))


def as_float(values: np.ndarray, normalized: bool = False) -> np.ndarray:
    """Stored values as float64; normalised integers by the specification's rule (section 3.11)."""
    with np.errstate(invalid="ignore"):  # a signalling NaN, which callers refuse as any number that is not finite
        floats = values.astype(np.float64)
    if normalized and values.dtype.kind in "iu":
        floats = np.maximum(floats / np.iinfo(values.dtype).max, -1.0)
    return floats


def image_bytes(gltf: Gltf, index: Any, where: str) -> bytes:
    """An image's file as embedded or beside the .gltf. Raises BadInput."""
    entry = item(gltf, "images", index, where)
    name = f"images[{index}]"
    if "bufferView" in entry:
        return bytes(view_bytes(gltf, entry["bufferView"], name))
    return read_uri(entry.get("uri"), gltf.folder, name)


def _chunks(data: bytes) -> tuple[bytes, memoryview | None]:
    if len(data) < 20:
        raise BadInput(f"GLB header: {len(data)} bytes, at least 20 expected (truncated)")
    _, version, length = struct.unpack_from("<III", data)
    if version != 2:
        raise BadInput(f"GLB header: version {version}, expected 2")
    if length != len(data):
        raise BadInput(f"GLB header: says {length} bytes, the file has {len(data)}")
    found: list[tuple[int, memoryview]] = []
    at = 12
    while at < length:
        if at + 8 > length:
            raise BadInput(f"GLB chunk at byte {at}: its header is truncated")
        size, kind = struct.unpack_from("<II", data, at)
        if size % 4 or at + 8 + size > length:
            raise BadInput(f"GLB chunk at byte {at}: length {size}, expected a multiple of 4, at most {length - at - 8}")
        found.append((kind, memoryview(data)[at + 8 : at + 8 + size]))
        at += 8 + size
    if found[0][0] != 0x4E4F534A:
        raise BadInput("GLB: its first chunk is not JSON")
    binary = found[1][1] if len(found) > 1 and found[1][0] == 0x004E4942 else None
    return bytes(found[0][1]), binary


def _document(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_JSON_BYTES:
        raise BadInput(f"JSON: {len(text)} bytes, more than the {MAX_JSON_BYTES} that are read")
    try:
        document = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise BadInput("JSON: nested too deeply") from None
    except ValueError as error:  # bad UTF-8, bad JSON, or numbers of thousands of digits
        raise BadInput(f"not a GLB (magic 'glTF') and not JSON ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(document, dict):
        raise BadInput(f"JSON: a {type(document).__name__}, expected an object")
    return document


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _buffer(entry: dict[str, Any], index: int, binary: memoryview | None, folder: Path) -> memoryview:
    where = f"buffers[{index}]"
    length = integer(entry, "byteLength", where, low=1)
    if "uri" in entry:
        data = memoryview(read_uri(entry["uri"], folder, where))
    elif index == 0 and binary is not None:
        data = binary
        if len(data) - length > 3:
            raise BadInput(f"{where}.byteLength: {length}, the binary chunk has {len(data)}, more than padding")
    else:
        raise BadInput(f"{where}: no uri and no binary chunk")
    if length > len(data):
        raise BadInput(f"{where}.byteLength: {length}, its data has {len(data)}")
    return data[:length]


def _element(entry: dict[str, Any], name: str) -> tuple[np.dtype, int]:
    kind, code = entry.get("type"), entry.get("componentType")
    if not isinstance(kind, str) or kind not in WIDTHS or not is_integer(code) or code not in COMPONENTS:
        allowed = f"{', '.join(WIDTHS)} of {', '.join(map(str, COMPONENTS))}"
        raise BadInput(f"{name}: type {excerpt(kind)} of component {excerpt(code)} is not read; expected {allowed}")
    return np.dtype(COMPONENTS[code]), WIDTHS[kind]
