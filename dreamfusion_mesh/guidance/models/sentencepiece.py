"""The vocabulary of a SentencePiece model (spiece.model), read without that library, as the first T5 folders have it.

Source: sentencepiece_model.proto of https://github.com/google/sentencepiece, and
https://protobuf.dev/programming-guides/encoding for the wire format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_PIECES, _NORMALIZER = 1, 3  # fields of ModelProto
_TEXT, _SCORE = 1, 2  # of a piece
_CHARACTERS = 2  # of the normalizer: its compiled map of characters
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Vocabulary(NamedTuple):
    """Pieces with their scores, in the order of their ids, and the map that normalizes characters (None: none)."""

    pieces: list[tuple[str, float]]
    characters: bytes | None


def read_vocabulary(content: bytes) -> Vocabulary:
    """The vocabulary of a spiece.model's content. Raises ValueError where it is none."""
    pieces: list[tuple[str, float]] = []
    characters = None
    for field, value in _fields(content):
        if field == _PIECES and isinstance(value, bytes):
            parts = dict(_fields(value))
            text, score = parts.get(_TEXT), parts.get(_SCORE, b"\0" * 4)
            if not isinstance(text, bytes) or not isinstance(score, bytes) or len(score) != 4:
                raise ValueError(f"piece {len(pieces)}: expected a text and a score")
            pieces.append((text.decode(), struct.unpack("<f", score)[0]))
        elif field == _NORMALIZER and isinstance(value, bytes):
            found = dict(_fields(value)).get(_CHARACTERS)
            characters = found if isinstance(found, bytes) and found else None
    if not pieces:
        raise ValueError("no pieces")
    return Vocabulary(pieces, characters)


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field of a message; numbers of a fixed size as their bytes."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(content, place)
            yield field, value
            continue
        size, place = _varint(content, place) if wire == _BYTES else ({_FIXED64: 8, _FIXED32: 4}.get(wire, -1), place)
        if size < 0 or place + size > len(content):
            raise ValueError(f"byte {place}: no field of a SentencePiece model")
        yield field, content[place : place + size]
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and the place after it."""
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(content):
            break
        byte = content[place]
        value, place = value | (byte & 127) << shift, place + 1
        if byte < 128:
            return value, place
    raise ValueError(f"byte {place}: no number of a SentencePiece model")
