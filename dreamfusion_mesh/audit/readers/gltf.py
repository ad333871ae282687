"""A glTF 2.0 file as it is on disk: its JSON, its accessors as arrays, its images as bytes.

The file is not trusted: every index, offset and length is checked against the bytes that are there, files are looked for beside the
.gltf alone, and whatever is wrong raises BadInput in one line.
Source: Khronos glTF 2.0 specification, sections 3.2 (asset), 3.6 (data), 4.4 (GLB layout).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from dreamfusion_mesh.audit.readers.extensions import MESHOPT, names, needs, refuse_unknown
from dreamfusion_mesh.audit.readers.files import excerpt, read_uri
from dreamfusion_mesh.errors import BadInput

MAX_JSON_BYTES = 64 << 20
MAX_ITEMS = 100_000  # of each kind: accessors, nodes, images ...
MAX_VALUES = 1 << 30  # numbers read in all, so that many primitives on the same bytes cannot hold a reader up


@dataclass(frozen=True, eq=False)
class Gltf:
    """`document` is the JSON object, `buffers` the bytes of each of its buffers, `folder` where external files are looked for.

    decoded  what was unpacked of its compressed data, by buffer view
    """

    document: dict[str, Any]
    buffers: list[memoryview]
    folder: Path
    decoded: dict[int, Any] = field(default_factory=dict)
    _read: list[int] = field(default_factory=lambda: [0])
    _checked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # lists that `items` has looked through, which takes time

    def count(self, values: int) -> None:
        """Note that many numbers are about to be read. Raises BadInput where they are more than MAX_VALUES in all."""
        self._read[0] += values
        if self._read[0] > MAX_VALUES:
            raise BadInput(f"the file: more than the {MAX_VALUES} numbers that are read, parts counted as often as they are drawn")


def parse_gltf(data: bytes, folder: Path) -> Gltf:
    """Read a .glb or .gltf from its bytes; buffers are resolved at once. Raises BadInput."""
    if data[:4] == b"glTF":
        text, binary = _chunks(data)
    else:
        text, binary = data, None
    document = _document(text)
    version = json_object(document, "asset", "document").get("version")
    if not isinstance(version, str) or not version.startswith("2."):
        raise BadInput(f"asset.version: {excerpt(version)}, expected '2.0'")
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
    refuse_compressed(view, name)
    item(gltf, "buffers", view.get("buffer"), name)
    offset, length = integer(view, "byteOffset", name, 0), integer(view, "byteLength", name, low=1)
    buffer = gltf.buffers[view["buffer"]]
    if offset + length > len(buffer):
        raise BadInput(f"{name}: bytes {offset} to {offset + length} of a buffer of {len(buffer)}")
    return buffer[offset : offset + length]


def refuse_compressed(view: dict[str, Any], where: str) -> None:
    """Raises Needs where a buffer view's bytes are compressed, or stand for something unknown."""
    for name in MESHOPT:
        if name in names(view):
            raise needs(name, where)
    refuse_unknown(view, where)


def image_bytes(gltf: Gltf, index: Any, where: str) -> bytes:
    """An image's file as embedded or beside the .gltf. Raises BadInput."""
    entry = item(gltf, "images", index, where)
    name = f"images[{index}]"
    refuse_unknown(entry, name)
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
    if "uri" not in entry and any(name in names(entry) for name in MESHOPT):
        return memoryview(b"")  # which only compressed views refer to
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
