"""A mutation of a file that suits its name."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random

import yaml
from written_files import pack  # of tests/support, see __init__.py

from tools.fuzz.mutate.json_values import edit_values, mutate_json, mutate_json_lines, write_json
from tools.fuzz.mutate.png import mutate_png
from tools.fuzz.mutate.raw import mutate_bytes, random_bytes
from tools.fuzz.mutate.safetensors import mutate_safetensors
from tools.fuzz.mutate.text import mutate_words, mutate_yaml

_TEXT = (".obj", ".mtl", ".ply", ".stl", ".off", ".txt", ".md")
_SHARE_BY_FORMAT = 0.65  # of the mutations; the others are of bytes


def mutate_file(rng: Random, file: Path, others: Sequence[Path]) -> None:
    """Change the file in place, once to three times. `others` are real files to take pieces of."""
    data = file.read_bytes()
    if rng.random() < 0.03:
        data = random_bytes(rng)
    else:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            data = mutate(rng, file.suffix.lower(), data, rng.choice(others).read_bytes())
    file.write_bytes(data)


def mutate(rng: Random, suffix: str, data: bytes, other: bytes) -> bytes:
    """`data` changed once, as a file of that suffix where it still can be read as one."""
    if rng.random() < _SHARE_BY_FORMAT:
        try:
            return _by_format(rng, suffix, data, other)
        except (ValueError, struct.error, IndexError, KeyError, TypeError, yaml.YAMLError, RecursionError):  # broken by a mutation before
            pass
    return mutate_bytes(rng, data, other)


def _by_format(rng: Random, suffix: str, data: bytes, other: bytes) -> bytes:
    match suffix:
        case ".glb":
            return _mutate_glb(rng, data, other)
        case ".gltf" | ".json":
            return mutate_json(rng, data)
        case ".jsonl":
            return mutate_json_lines(rng, data)
        case ".yaml":
            return mutate_yaml(rng, data)
        case ".safetensors":
            return mutate_safetensors(rng, data)
        case ".png":
            return mutate_png(rng, data, other)
        case ".ply" if b"format binary" in data[:200]:
            header, end, body = data.partition(b"end_header\n")
            return mutate_words(rng, header) + end + body
        case _ if suffix in _TEXT:
            return mutate_words(rng, data)
    return mutate_bytes(rng, data, other)


def _mutate_glb(rng: Random, data: bytes, other: bytes) -> bytes:
    """The JSON, the binary chunk or the image in it changed; all lengths are right."""
    (length,) = struct.unpack_from("<I", data, 12)
    document, binary = json.loads(data[20 : 20 + length]), data[28 + length :]
    kind = rng.random()
    if kind < 0.6:
        return pack(write_json(edit_values(rng, document)), binary)
    if kind < 0.8:
        changed = mutate_bytes(rng, binary, other)
        document["buffers"][0]["byteLength"] = len(changed)
        return pack(document, changed)
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    image = mutate_png(rng, binary[view["byteOffset"] :][: view["byteLength"]], other)
    view |= {"byteOffset": len(binary), "byteLength": len(image)}
    document["buffers"][0]["byteLength"] = len(binary) + len(image)
    return pack(document, binary + image)
