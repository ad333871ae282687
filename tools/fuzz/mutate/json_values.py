"""Mutations of JSON documents, and of files of one document a line."""

from __future__ import annotations

import copy
import json
import re
from random import Random
from typing import Any

from tools.fuzz.values import number, value

_MARK = "\0raw:"  # of a text that stands for JSON that json.dumps would not write
_RAW = {
    "deep list": "[" * 100_000 + "]" * 100_000,
    "deep object": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "long number": "9" * 5_000,
    "beyond a float": "1e999",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "nothing": "",
    "fraction": "1.0",
    "exponent": "1E+2",
}


def mutate_json(rng: Random, data: bytes) -> bytes:
    """One or a few values of the document replaced, moved, renamed or taken out. Raises ValueError where `data` is no JSON."""
    return write_json(edit_values(rng, json.loads(data)))


def mutate_json_lines(rng: Random, data: bytes) -> bytes:
    """One line of a .jsonl changed, repeated, moved or taken out, or a broken one put in."""
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            lines[at] = mutate_json(rng, lines[at])
        case 1:
            lines.insert(
                at,
                rng.choice((b"", b"{", b"}", b"[]", b"{}", b"null", b"\xff\xfe}", b'{"stage": 1}', b'{"step": []}', b"\0" * 512, b'"}"')),
            )
        case 2:
            del lines[at]
        case 3:
            lines += [lines[at]] * rng.choice((1, 3, 2000))
        case 4:
            rng.shuffle(lines)
        case _:
            lines[at] = lines[at].replace(b'": ', rng.choice((b'":', b'" ', b'"=', b"\xc3(")))
    return b"\n".join(lines) + rng.choice((b"\n", b"\n", b"", b"\r\n", b'\n{"stage": "fi'))


def edit_values(rng: Random, document: Any) -> Any:
    """The document with one to three of its values changed."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(document))
        if not places or rng.random() < 0.02:
            return _new_value(rng)
        _edit(rng, document, *rng.choice(places))
    return document


def write_json(document: Any) -> bytes:
    """The document as JSON, with what stands for values that json.dumps would not write."""
    text = json.dumps(document)
    return re.sub(r'"\\u0000raw:([^"]*)"', lambda found: _RAW[found[1]], text).encode()


def _places(document: Any) -> Any:
    """Every container and key in it; of YAML, which may hold itself, each container once."""
    waiting, seen = [document], set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        keys = list(found) if isinstance(found, dict) else range(min(len(found), 200)) if isinstance(found, list) else ()
        for key in keys:
            yield found, key
            if isinstance(found[key], (dict, list)):
                waiting.append(found[key])


def _edit(rng: Random, document: Any, owner: Any, key: Any) -> None:
    change = rng.randrange(10)
    if change == 0:
        del owner[key]
    elif change == 1 and isinstance(owner, dict):
        owner[str(value(rng))[:40]] = owner.pop(key)
    elif change == 1:
        owner.extend([owner[key]] * rng.choice((1, 2, 1000)))
    elif change == 2:
        other, place = rng.choice(list(_places(document)))
        owner[key] = copy.deepcopy(other[place])
    elif change <= 5 and isinstance(owner[key], (int, float)):
        owner[key] = number(rng) if rng.random() < 0.7 else owner[key] + rng.choice((-4, -1, 1, 4, 0.5))
    else:
        owner[key] = _new_value(rng)


def _new_value(rng: Random) -> Any:
    return _MARK + rng.choice(list(_RAW)) if rng.random() < 0.15 else value(rng)
