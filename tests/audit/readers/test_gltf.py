"""The reader takes bytes from anywhere: what it reads is exact, and whatever is wrong is one BadInput line, never a traceback."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich_gltf import rich
from written_files import box, pack, png

from dreamfusion_mesh.audit.readers import gltf as gltf_module
from dreamfusion_mesh.audit.readers.accessors import accessor, as_float
from dreamfusion_mesh.audit.readers.gltf import image_bytes, parse_gltf
from dreamfusion_mesh.audit.readers.scene import read_scene
from dreamfusion_mesh.errors import BadInput

NASTY: tuple[Any, ...] = (-1, 0, 3, 2**31, 2**70, 1e308, 0.5, "x", "../x", "", None, True, [], [1, 2], [[]], {}, {"a": 1}, "\ud800")


def file_of(values: np.ndarray, kind: str, component: int, stride: int | None = None, **entry: Any) -> bytes:
    view = {"buffer": 0, "byteLength": values.nbytes} | ({"byteStride": stride} if stride else {})
    found = {"bufferView": 0, "componentType": component, "count": len(values), "type": kind} | entry
    document = {"asset": {"version": "2.0"}, "accessors": [found], "bufferViews": [view], "buffers": [{"byteLength": values.nbytes}]}
    return pack(document, values.tobytes())


def read_all(data: bytes, folder: Path) -> None:
    """All that the audit does with a file's bytes."""
    gltf = parse_gltf(data, folder)
    read_scene(gltf, "unreal")


def test_accessors_are_read_as_stored(tmp_path: Path) -> None:
    values = np.arange(12, dtype="<f4").reshape(4, 3) / 7
    assert np.array_equal(accessor(parse_gltf(file_of(values, "VEC3", 5126), tmp_path), 0, "here"), values)


def test_a_stride_skips_what_lies_between(tmp_path: Path) -> None:
    rows = np.arange(20, dtype="<f4").reshape(4, 5)
    data = file_of(rows, "VEC2", 5126, stride=20, byteOffset=4)
    assert np.array_equal(accessor(parse_gltf(data, tmp_path), 0, "here"), rows[:, 1:3])


def test_normalised_integers_follow_the_specification() -> None:
    assert np.array_equal(as_float(np.array([0, 51, 255], np.uint8), True), [0, 0.2, 1])
    assert np.array_equal(as_float(np.array([-128, -127, 127], np.int8), True), [-1, -1, 1])
    assert np.array_equal(as_float(np.array([3], np.uint16), False), [3])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a GLB"),
        (b"glTF", "truncated"),
        (b"PK\x03\x04" + bytes(40), "not a GLB"),
        (struct.pack("<4sII", b"glTF", 1, 20) + bytes(8), "version 1"),
        (struct.pack("<4sII", b"glTF", 2, 2**32 - 1) + bytes(8), "says 4294967295 bytes"),
        (struct.pack("<4sIIII", b"glTF", 2, 20, 2**32 - 4, 0x4E4F534A), "chunk at byte 12"),
        (struct.pack("<4sIIII", b"glTF", 2, 20, 0, 0x004E4942), "first chunk is not JSON"),
        (pack(b"[1, 2]", b""), "a list, expected an object"),
        (pack(b'{"a": NaN}', b""), "NaN"),
        (pack(b'{"a": ' + b"9" * 20_000 + b"}", b""), "not JSON"),
        (pack(b"[" * 100_000, b""), "nested too deeply"),
        (pack(b'{"a": "\xff"}', b""), "not JSON"),
        (pack(b'{"asset": {"version": "1.0"}}', b""), "asset.version: '1.0', expected '2.0'"),
        (pack(b"{}", b""), "asset.version: None"),
        (pack(b'{"asset": {"version": "2.0"}, "buffers": [{"byteLength": 1099511627776}]}', b""), "its data has 0"),
        (pack(b'{"asset": {"version": "2.0"}, "buffers": [{"byteLength": 4}]}', bytes(64)), "more than padding"),
        (pack(b'{"asset": {"version": "2.0"}, "buffers": [1]}', b""), "list of objects"),
    ],
)
def test_a_broken_container_is_named(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words):
        parse_gltf(data, tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        {"count": 5},
        {"count": 2**62},
        {"count": 0},
        {"count": -1},
        {"count": 2.5},
        {"byteOffset": 4},
        {"byteOffset": 2},
        {"byteOffset": -12},
        {"componentType": 5130},
        {"type": "VEC9"},
        {"type": []},
        {"bufferView": 1},
        {"bufferView": -1},
        {"bufferView": True},
        {"sparse": {}},
    ],
)
def test_no_accessor_leaves_its_bytes(entry: dict[str, Any], tmp_path: Path) -> None:
    gltf = parse_gltf(file_of(np.zeros((4, 3), "<f4"), "VEC3", 5126, **entry), tmp_path)
    with pytest.raises(BadInput, match=r"accessors\[0\]"):
        accessor(gltf, 0, "here")


def test_an_absent_index_is_refused_with_the_place_that_refers_to_it(tmp_path: Path) -> None:
    gltf = parse_gltf(box(1).glb(), tmp_path)
    with pytest.raises(BadInput, match=r"here: images\[7\] is not there; the file has 1"):
        image_bytes(gltf, 7, "here")


def test_every_truncation_and_flipped_byte_is_read_or_refused(tmp_path: Path) -> None:
    whole = box(1).glb()
    draws = np.random.default_rng(0)
    refused = 0
    for cut in np.linspace(0, len(whole) - 1, 60).astype(int):
        with pytest.raises(BadInput):
            read_all(whole[:cut], tmp_path)
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[draws.integers(len(whole))] = draws.integers(256)
        refused += _refused(bytes(flipped), tmp_path)
    assert 0 < refused < 200


def test_every_json_value_may_be_anything(tmp_path: Path) -> None:
    draft = box(1)
    draft.image = png(4)
    document, binary = draft.document_and_binary()
    cases = [(path, value) for path in _paths(document) for value in NASTY]
    assert len(cases) > 1000
    assert 0 < sum(_refused_with(document, binary, *case, tmp_path) for case in cases) < len(cases)


def test_every_json_value_of_a_rich_file_may_be_anything(tmp_path: Path) -> None:
    draft = rich()
    draft.image = png(4)
    document, binary = draft.document_and_binary()
    found = read_scene(parse_gltf(pack(document, binary), tmp_path), "unreal")
    assert (len(found.faces), len(found.levels), len(found.hulls), found.unread) == (48, 1, 2, {})
    cases = [(path, value) for path in _paths(document) for value in NASTY]
    chosen = np.random.default_rng(0).permutation(len(cases))[:400]
    assert 0 < sum(_refused_with(document, binary, *cases[case], tmp_path) for case in chosen) < len(chosen)


def _refused_with(document: dict[str, Any], binary: bytes, path: tuple[Any, ...], value: Any, folder: Path) -> bool:
    changed = json.loads(json.dumps(document))
    _replace(changed, path, value)
    return _refused(pack(changed, binary), folder)


def test_json_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gltf_module, "MAX_JSON_BYTES", 100)
    with pytest.raises(BadInput, match=r"JSON: \d+ bytes, more than the 100"):
        parse_gltf(b'{"buffers": [{"uri": "data:;base64,' + b"A" * 100, tmp_path)


def _refused(data: bytes, folder: Path) -> bool:
    message = ""
    try:
        with warnings.catch_warnings(action="error"):
            read_all(data, folder)
    except BadInput as error:
        message = str(error)
    assert "\n" not in message
    return bool(message)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from _paths(child, (*path, key))


def _replace(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new
