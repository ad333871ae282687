"""Is it valid glTF? Checks of our own, which need no validator. Source: Khronos glTF 2.0 specification."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.gltf import Gltf, accessor, as_float, image_bytes, item, items, json_object
from dreamfusion_mesh.audit.readers.images import decode
from dreamfusion_mesh.errors import BadInput

MAX_DECODED_BYTES = 4 << 30  # bytes of accessors read in all, so that many over the same bytes cannot hold the audit up
MAX_DECODED_TEXELS = 1 << 28  # of all images together, likewise: sixteen of 4096 x 4096
_UNIT_LENGTH_TOLERANCE = 6.74e-3  # how far a normal's length may be from 1; the Khronos validator's figure
_WIDTHS = {"POSITION": 3, "NORMAL": 3, "TANGENT": 4, "TEXCOORD_0": 2, "TEXCOORD_1": 2}


def structure_problems(gltf: Gltf, most: int = 20) -> list[str]:
    """What is wrong with the file by our own reading, one line each, at most `most`; empty where nothing is."""
    problems: list[str] = []
    for problem in _problems(gltf):
        problems.append(problem)
        if len(problems) >= most:
            break
    return problems


def _problems(gltf: Gltf) -> Iterator[str]:
    version = json_object(gltf.document, "asset", "document").get("version")
    if version != "2.0":
        yield f"asset.version: {str(version)[:20]!r}, expected '2.0'"
    if gltf.document.get("extensionsRequired"):
        yield f"extensionsRequired: {str(gltf.document['extensionsRequired'])[:80]}; a game-ready file needs none"
    yield from _accessor_problems(gltf)
    yield from _mesh_problems(gltf)
    yield from _images_problems(gltf)
    for t, texture in enumerate(items(gltf.document, "textures")):
        yield from _problems_or_error(_texture_problems, gltf, texture, f"textures[{t}]")


def _mesh_problems(gltf: Gltf) -> Iterator[str]:
    decoded = 0
    for m, mesh in enumerate(items(gltf.document, "meshes")):
        primitives = mesh.get("primitives")
        if not isinstance(primitives, list) or not primitives:
            yield f"meshes[{m}].primitives: expected at least one"
            continue
        for p, primitive in enumerate(primitives):
            decoded += _decoded_bytes(gltf, primitive)
            if decoded > MAX_DECODED_BYTES:
                yield f"primitives: more than {MAX_DECODED_BYTES} bytes in all"
                return
            yield from _problems_or_error(_primitive_problems, gltf, primitive, f"meshes[{m}].primitives[{p}]")


def _decoded_bytes(gltf: Gltf, primitive: Any) -> int:
    """What the attributes and indices of a primitive take as float64, and a fixed part for looking at it."""
    try:
        attributes = json_object(primitive, "attributes", "")
        used = [*attributes.values(), *([primitive["indices"]] if "indices" in primitive else [])]
        return 10_000 + 8 * sum(accessor(gltf, index, "").size for index in used)
    except (BadInput, AttributeError):  # said by _primitive_problems
        return 10_000


def _problems_or_error(check: Any, *arguments: Any) -> Iterator[str]:
    """A check's problems; the first thing it cannot read is one of them."""
    try:
        yield from check(*arguments)
    except BadInput as error:
        yield str(error)


def _accessor_problems(gltf: Gltf) -> Iterator[str]:
    decoded = 0
    for index, entry in enumerate(items(gltf.document, "accessors")):
        try:
            values = accessor(gltf, index, "accessors")
        except BadInput as error:
            yield str(error)
            continue
        decoded += values.size * 8
        if decoded > MAX_DECODED_BYTES:
            yield f"accessors: more than {MAX_DECODED_BYTES} bytes in all"
            return
        yield from _value_problems(values, entry, f"accessors[{index}]")


def _value_problems(values: np.ndarray, entry: dict[str, Any], name: str) -> Iterator[str]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        yield f"{name}: has {int((~np.isfinite(values)).sum())} numbers that are not finite"
        return
    for key, true in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
        if key not in entry:
            continue
        try:
            stated = np.array(entry[key], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            stated = np.empty(0)
        with np.errstate(over="ignore"):
            holds = stated.shape == true.shape and np.array_equal(stated.astype(np.float32), true.astype(np.float32))
        if not holds:
            yield f"{name}.{key}: {str(entry[key])[:80]}, but the values' is {true.tolist()}"


def _primitive_problems(gltf: Gltf, primitive: Any, where: str) -> Iterator[str]:
    if not isinstance(primitive, dict):
        yield f"{where}: expected an object"
        return
    attributes = json_object(primitive, "attributes", where)
    positions = accessor(gltf, attributes.get("POSITION"), f"{where}.POSITION")
    entry = item(gltf, "accessors", attributes["POSITION"], where)
    if "min" not in entry or "max" not in entry:
        yield f"{where}.POSITION: min and max are required"
    for name, index in attributes.items():
        yield from _attribute_problems(gltf, name, index, len(positions), where)
    if "indices" in primitive:
        yield from _index_problems(gltf, primitive["indices"], len(positions), where)
    elif len(positions) % 3:
        yield f"{where}: {len(positions)} vertices without indices, not a multiple of 3"
    if "material" in primitive:
        item(gltf, "materials", primitive["material"], where)


def _attribute_problems(gltf: Gltf, name: str, index: Any, count: int, where: str) -> Iterator[str]:
    values = accessor(gltf, index, f"{where}.{name}")
    if len(values) != count:
        yield f"{where}.{name}: {len(values)} values for {count} vertices"
    if name in _WIDTHS and values.shape[1] != _WIDTHS[name]:
        yield f"{where}.{name}: {values.shape[1]} numbers a vertex, expected {_WIDTHS[name]}"
        return
    if name in ("POSITION", "NORMAL", "TANGENT") and values.dtype.kind != "f":
        yield f"{where}.{name}: {values.dtype}, expected float32"
    if values.strides[0] % 4:
        yield f"{where}.{name}: {values.strides[0]} bytes a vertex, expected a multiple of 4"
    if name in ("NORMAL", "TANGENT"):
        lengths = np.linalg.norm(as_float(values[:, :3]), axis=1)
        off = int((np.abs(lengths - 1) > _UNIT_LENGTH_TOLERANCE).sum())
        if off:
            yield f"{where}.{name}: {off} vectors are not of unit length"
    if name == "TANGENT" and not np.isin(values[:, 3], (-1.0, 1.0)).all():
        yield f"{where}.TANGENT: w is not always 1 or -1"


def _index_problems(gltf: Gltf, index: Any, count: int, where: str) -> Iterator[str]:
    values = accessor(gltf, index, f"{where}.indices")
    if values.dtype.kind != "u" or values.shape[1] != 1:
        yield f"{where}.indices: expected unsigned whole numbers"
        return
    if len(values) % 3:
        yield f"{where}.indices: {len(values)}, not a multiple of 3"
    if int(values.max()) >= min(count, np.iinfo(values.dtype).max):  # the type's largest restarts a primitive
        yield f"{where}.indices: up to {int(values.max())}, with {count} vertices"
    if "byteStride" in item(gltf, "bufferViews", item(gltf, "accessors", index, where)["bufferView"], where):
        yield f"{where}.indices: its bufferView has a byteStride"


def _images_problems(gltf: Gltf) -> Iterator[str]:
    decoded = 0
    for index, entry in enumerate(items(gltf.document, "images")):
        name = f"images[{index}]"
        try:
            image = decode(image_bytes(gltf, index, name), name)
        except BadInput as error:
            yield str(error)
            continue
        mime = entry.get("mimeType")
        if "bufferView" in entry and mime is None:
            yield f"{name}.mimeType: required beside bufferView"
        if mime is not None and mime != image.mime:
            yield f"{name}.mimeType: {str(mime)[:40]!r}, but it is {image.mime}"
        decoded += image.width * image.height + 10_000  # the latter for a small one's header
        if decoded > MAX_DECODED_TEXELS:
            yield f"images: more than {MAX_DECODED_TEXELS} texels in all"
            return


def _texture_problems(gltf: Gltf, texture: dict[str, Any], where: str) -> list[str]:
    item(gltf, "images", texture.get("source"), where)
    if "sampler" in texture:
        item(gltf, "samplers", texture["sampler"], where)
    return []
