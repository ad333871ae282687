"""Mutations that know nothing of a file's format."""

from __future__ import annotations

import struct
from random import Random

from tools.fuzz.values import FLOATS, INTEGERS


def mutate_bytes(rng: Random, data: bytes, other: bytes) -> bytes:
    """Bits, blocks or numbers of `data` changed; `other` is what is spliced in."""
    change = rng.choice((_flip, _flip, _truncate, _delete, _repeat, _move, _splice, _integer, _integer, _float, _zero, _noise, _insert))
    return change(rng, bytearray(data), other)


def random_bytes(rng: Random) -> bytes:
    """Up to 4 KiB of noise, of text or of one repeated byte."""
    length = rng.choice((0, 1, 2, 4, 20, 84, 100, 1000, 4096))
    kind = rng.randrange(3)
    if kind == 0:
        return rng.randbytes(length)
    letters = bytes(range(32, 127)) + b"\n\n\n\n     0123456789"
    return bytes(rng.choice(letters) for _ in range(length)) if kind == 1 else rng.randbytes(1) * length


def _span(rng: Random, data: bytearray) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 16, 64, 256, 1024, 4096)))


def _flip(rng: Random, data: bytearray, other: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _truncate(rng: Random, data: bytearray, other: bytes) -> bytes:
    near = rng.choice((rng.randrange(len(data) + 1), len(data) - rng.randrange(9), rng.randrange(65)))
    return bytes(data[: max(0, near)])


def _delete(rng: Random, data: bytearray, other: bytes) -> bytes:
    start, stop = _span(rng, data)
    del data[start:stop]
    return bytes(data)


def _repeat(rng: Random, data: bytearray, other: bytes) -> bytes:
    start, stop = _span(rng, data)
    data[start:start] = data[start:stop] * rng.choice((1, 1, 2, 20))
    return bytes(data)


def _move(rng: Random, data: bytearray, other: bytes) -> bytes:
    start, stop = _span(rng, data)
    block = data[start:stop]
    del data[start:stop]
    to = rng.randrange(len(data) + 1)
    data[to:to] = block
    return bytes(data)


def _splice(rng: Random, data: bytearray, other: bytes) -> bytes:
    here, there = rng.randrange(len(data) + 1), rng.randrange(len(other) + 1)
    if rng.random() < 0.5:
        return bytes(data[:here]) + other[there:]
    piece = other[there : there + rng.choice((4, 64, 1024))]
    data[here : here + len(piece)] = piece
    return bytes(data)


def _integer(rng: Random, data: bytearray, other: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 4, 8))
    number = rng.choice(INTEGERS) % (1 << 8 * size)
    return _put(rng, data, number.to_bytes(size, rng.choice(("little", "little", "big"))))


def _float(rng: Random, data: bytearray, other: bytes) -> bytes:
    number = rng.choice((*[f for f in FLOATS if abs(f) < 3e38], float("nan"), float("inf"), float("-inf")))
    return _put(rng, data, struct.pack("<f", number))


def _put(rng: Random, data: bytearray, piece: bytes) -> bytes:
    places = len(data) // len(piece)
    if places:
        near = rng.randrange(min(places, 32)) if rng.random() < 0.4 else rng.randrange(places)  # headers are where the counts are
        data[near * len(piece) : near * len(piece) + len(piece)] = piece
    return bytes(data)


def _zero(rng: Random, data: bytearray, other: bytes) -> bytes:
    start, stop = _span(rng, data)
    data[start:stop] = rng.choice((b"\0", b"\xff", b" ")) * (stop - start)
    return bytes(data)


def _noise(rng: Random, data: bytearray, other: bytes) -> bytes:
    start, stop = _span(rng, data)
    data[start:stop] = rng.randbytes(stop - start)
    return bytes(data)


def _insert(rng: Random, data: bytearray, other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    data[at:at] = random_bytes(rng)
    return bytes(data)
