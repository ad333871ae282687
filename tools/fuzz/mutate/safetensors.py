"""Mutations of a safetensors file: its header's fields, and tensors that are sound but not those that were saved."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

from tools.fuzz.mutate.json_values import edit_values, write_json
from tools.fuzz.values import number, word

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_METADATA = "__metadata__"


def mutate_safetensors(rng: Random, data: bytes) -> bytes:
    """Either any value of the header, or tensors and metadata changed so that the file stays a sound one. Raises ValueError."""
    (length,) = struct.unpack_from("<Q", data)
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    if rng.random() < 0.4:
        return _pack(write_json(edit_values(rng, header)), body)
    metadata = header.pop(_METADATA, {})
    tensors = {name: (entry, body[slice(*entry["data_offsets"])]) for name, entry in header.items()}
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.25:
            _edit_metadata(rng, metadata)
        elif tensors:
            _edit_tensors(rng, tensors)
    return _written(metadata, tensors)


def in_order(data: bytes) -> bytes:
    """The same tensors and metadata by name; the library writes metadata in a new order each time."""
    (length,) = struct.unpack_from("<Q", data)
    return _pack(json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True).encode(), data[8 + length :])


def put_metadata(data: bytes, key: str, text: str) -> bytes:
    """The same tensors with `text` under `key` in their metadata."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header[_METADATA] = {**header.get(_METADATA, {}), key: text}
    return _pack(json.dumps(header).encode(), data[8 + length :])


def _edit_metadata(rng: Random, metadata: dict[str, str]) -> None:
    key = rng.choice([*metadata, "schema", "seconds", "warnings", "guidance"])
    if rng.random() < 0.3:
        metadata.pop(key, None)
    else:
        nested = rng.choice(
            ("[]", "{}", "null", "1", "-1", "{", "[" * 5000, '{"fine": []}', '{"seconds": {"fine": "x"}}', '{"fine": 1e999}')
        )
        metadata[key] = rng.choice((nested, nested, word(rng).encode("utf-8", "replace").decode(), str(number(rng))))


def _edit_tensors(rng: Random, tensors: dict[str, tuple[dict[str, Any], bytes]]) -> None:
    name = rng.choice(list(tensors))
    entry, content = tensors[name]
    dtype, shape = entry["dtype"], list(entry["shape"])
    match rng.randrange(8):
        case 0:
            del tensors[name]
        case 1:
            tensors[rng.choice((name + ".x", name.rpartition(".")[2], "", "vertices", "faces", "fit.counts"))] = tensors.pop(name)
        case 2:
            other = rng.choice(list(tensors))
            tensors[name], tensors[other] = tensors[other], tensors[name]
        case 3:
            alike = [kind for kind in _BYTES if kind != dtype and _BYTES[kind] == _BYTES.get(dtype)]
            tensors[name] = ({"dtype": rng.choice(alike or ["U8"]), "shape": shape}, content)
        case 4:
            flat = [len(content) // _BYTES[dtype]]
            tensors[name] = ({"dtype": dtype, "shape": rng.choice((shape[::-1], flat, [1, *shape], [*flat, 1]))}, content)
        case 5:
            first = rng.choice((0, 1, 2, 3))  # rows of the first axis that are left
            row = len(content) // max(shape[0], 1) if shape else len(content)
            tensors[name] = ({"dtype": dtype, "shape": [first, *shape[1:]]}, (content * 4)[: row * first])
        case 6:
            tensors[name] = (entry, _special_numbers(rng, dtype, content))
        case _:
            tensors[name] = (entry, bytes(len(content)) if rng.random() < 0.5 else rng.randbytes(len(content)))


def _special_numbers(rng: Random, dtype: str, content: bytes) -> bytes:
    """One number, or every one, NaN, infinite, huge or negative."""
    special = {"F32": ("<f", (float("nan"), float("inf"), 3e38, -3e38, 1e-45, 0.0)), "I64": ("<q", (-1, 2**62, -(2**62), 0, 10**6))}
    if dtype not in special or not content:
        return bytes(len(content))
    form, numbers = special[dtype]
    piece = struct.pack(form, rng.choice(numbers))
    if rng.random() < 0.4:
        return piece * (len(content) // len(piece))
    at = rng.randrange(len(content) // len(piece)) * len(piece)
    return content[:at] + piece + content[at + len(piece) :]


def _written(metadata: dict[str, str], tensors: dict[str, tuple[dict[str, Any], bytes]]) -> bytes:
    header: dict[str, Any] = {_METADATA: metadata} if metadata else {}
    body = b""
    for name, (entry, content) in tensors.items():
        header[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    return _pack(json.dumps(header).encode(), body)


def _pack(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body
