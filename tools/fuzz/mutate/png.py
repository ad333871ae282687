"""Mutations of a PNG's chunks, with right checksums, so that they reach what reads the chunks."""

from __future__ import annotations

import struct
import zlib
from random import Random

from tools.fuzz.mutate.raw import mutate_bytes
from tools.fuzz.values import INTEGERS

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EXTRA = [
    (b"gAMA", struct.pack(">I", 0)),
    (b"gAMA", struct.pack(">I", 100_000)),
    (b"gAMA", b""),
    (b"sRGB", b""),
    (b"iCCP", b"name\0\0" + zlib.compress(bytes(1000))),
    (b"iCCP", b""),
    (b"iCCP", b"x\0\x07xxxx"),
    (b"cICP", b"\x01"),
    (b"tRNS", b"\0" * 6),
    (b"tRNS", b"\0"),
    (b"PLTE", b"\0" * 7),
    (b"PLTE", b"\0" * 768),
    (b"pHYs", b"\0"),
    (b"zTXt", b"k\0\0" + zlib.compress(bytes(4 << 20))),
    (b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(80 << 20))),  # more text than Pillow reads
    (b"iTXt", b"k"),
    (b"tEXt", b"k\0\xff\xfe"),
    (b"eXIf", b"MM\0*\0\0\0\x08\0\x01"),
    (b"acTL", struct.pack(">II", 2**31, 0)),
    (b"acTL", b""),
    (b"fcTL", bytes(26)),
    (b"fdAT", bytes(8)),
    (b"ABCD", b"critical and unknown"),
    (b"IEND", b""),
]


def mutate_png(rng: Random, data: bytes, other: bytes) -> bytes:
    """One chunk changed, repeated, moved, taken out or put in. Raises ValueError where `data` is no PNG."""
    chunks = _chunks(data)
    at = rng.randrange(len(chunks))
    match rng.randrange(7):
        case 0:
            chunks[0] = (b"IHDR", _header(rng, chunks[0][1]))
        case 1:
            chunks.insert(rng.randrange(len(chunks) + 1), rng.choice(_EXTRA))
        case 2:
            chunks.insert(1, rng.choice(_EXTRA))
        case 3:
            del chunks[at]
        case 4:
            chunks.insert(at, chunks.pop(rng.randrange(len(chunks))))
        case 5:
            pixels = rng.choice((b"", bytes(40 << 20), bytes(100), rng.randbytes(1000)))  # none, too many, too few, noise
            chunks = [(kind, zlib.compress(pixels) if kind == b"IDAT" else body) for kind, body in chunks]
        case _:
            kind, body = chunks[at]
            chunks[at] = (kind, mutate_bytes(rng, body, other))
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def _header(rng: Random, body: bytes) -> bytes:
    width, height, *rest = struct.unpack(">IIBBBBB", body)
    if rng.random() < 0.6:
        sides = (*INTEGERS, 16_384, 16_385, 8_192, 1000, 255)
        width, height = (rng.choice(sides) % 2**32 if rng.random() < 0.6 else side for side in (width, height))
    else:
        rest[rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return struct.pack(">IIBBBBB", width, height, *rest)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    if not data.startswith(_SIGNATURE):
        raise ValueError("not a PNG")
    found, at = [], len(_SIGNATURE)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
