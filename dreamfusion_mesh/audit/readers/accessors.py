"""A glTF's accessors as arrays: strides, sparse values, values that no buffer holds, normalised integers.

Source: Khronos glTF 2.0 specification, sections 3.6.2 (accessors), 3.11 (normalised integers).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamfusion_mesh.audit.readers.extensions import refuse_unknown
from dreamfusion_mesh.audit.readers.files import excerpt
from dreamfusion_mesh.audit.readers.gltf import Gltf, integer, is_integer, item, json_object, view_bytes
from dreamfusion_mesh.errors import BadInput

MAX_ZEROS = 3_000_000  # values of an accessor that no buffer view holds, and that therefore a few bytes can claim

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def accessor(gltf: Gltf, index: Any, where: str) -> np.ndarray:
    """An accessor's values as stored, [count, components] in its own component type. Raises BadInput where it leaves its bytes."""
    entry = item(gltf, "accessors", index, where)
    name = f"accessors[{index}]"
    refuse_unknown(entry, name)
    dtype, width = _element(entry, name)
    count = integer(entry, "count", name, low=1)
    if "bufferView" in entry:
        values = _strided(gltf, entry, name, dtype, (count, width))
    elif count <= MAX_ZEROS:
        values = np.broadcast_to(np.zeros((), dtype), (count, width))
    else:
        raise BadInput(f"{name}.count: {count} without a bufferView, at most {MAX_ZEROS} are read")
    return _with_sparse(gltf, entry, name, values) if "sparse" in entry else values


def floats(gltf: Gltf, index: Any, where: str) -> np.ndarray:
    """An accessor's values [count, components] as float64, integers as the accessor says. Raises BadInput."""
    stored = accessor(gltf, index, where)
    gltf.count(stored.size)
    return as_float(stored, is_normalized(gltf, index))


def is_normalized(gltf: Gltf, index: int) -> bool:
    """Whether an accessor, which is there, has integers that stand for fractions."""
    return gltf.document["accessors"][index].get("normalized") is True


def as_float(values: np.ndarray, normalized: bool = False) -> np.ndarray:
    """Stored values as float64; normalised integers by the specification's rule (section 3.11)."""
    with np.errstate(invalid="ignore"):  # a signalling NaN, which callers refuse as any number that is not finite
        converted = values.astype(np.float64)
    if normalized and values.dtype.kind in "iu":
        converted = np.maximum(converted / np.iinfo(values.dtype).max, -1.0)
    return converted


def _strided(gltf: Gltf, entry: dict[str, Any], name: str, dtype: np.dtype, shape: tuple[int, int]) -> np.ndarray:
    """The values of a buffer view, in its own steps where it has any."""
    (count, width), size = shape, dtype.itemsize * shape[1]
    data = view_bytes(gltf, entry.get("bufferView"), name)
    view = gltf.document["bufferViews"][entry["bufferView"]]
    offset = integer(entry, "byteOffset", name, 0)
    stride = integer(view, "byteStride", f"bufferViews[{entry['bufferView']}]", size)
    if stride < size or (stride > 252 and stride != size):
        raise BadInput(f"bufferViews[{entry['bufferView']}].byteStride: {stride}, expected {size} to 252")
    if (offset + integer(view, "byteOffset", name, 0)) % dtype.itemsize or stride % dtype.itemsize:
        raise BadInput(f"{name}: starts or steps off the {dtype.itemsize}-byte boundary its numbers need")
    needed = offset + stride * (count - 1) + size
    if needed > len(data):
        raise BadInput(f"{name}: {count} values need {needed} bytes, its bufferView has {len(data)}")
    return np.ndarray((count, width), dtype, buffer=data, offset=offset, strides=(stride, dtype.itemsize))


def _with_sparse(gltf: Gltf, entry: dict[str, Any], name: str, values: np.ndarray) -> np.ndarray:
    """The values with those that a sparse accessor puts in their places."""
    sparse = json_object(entry, "sparse", name)
    count = integer(sparse, "count", f"{name}.sparse", low=1)
    indices, replaced = (json_object(sparse, key, f"{name}.sparse") for key in ("indices", "values"))
    kind = indices.get("componentType")
    if not is_integer(kind) or kind not in (5121, 5123, 5125) or count > len(values):
        raise BadInput(f"{name}.sparse: {count} of {len(values)} values, indices of type {excerpt(kind)}")
    rows = _strided(gltf, indices, f"{name}.sparse.indices", np.dtype(COMPONENTS[kind]), (count, 1))[:, 0]
    if int(rows.max()) >= len(values):
        raise BadInput(f"{name}.sparse.indices: up to {int(rows.max())}, with {len(values)} values")
    gltf.count(values.size)
    whole = np.array(values)
    whole[rows] = _strided(gltf, replaced, f"{name}.sparse.values", values.dtype, (count, values.shape[1]))
    return whole


def _element(entry: dict[str, Any], name: str) -> tuple[np.dtype, int]:
    kind, code = entry.get("type"), entry.get("componentType")
    if not isinstance(kind, str) or kind not in WIDTHS or not is_integer(code) or code not in COMPONENTS:
        allowed = f"{', '.join(WIDTHS)} of {', '.join(map(str, COMPONENTS))}"
        raise BadInput(f"{name}: type {excerpt(kind)} of component {excerpt(code)} is not read; expected {allowed}")
    return np.dtype(COMPONENTS[code]), WIDTHS[kind]
