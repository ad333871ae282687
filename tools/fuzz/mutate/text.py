"""Mutations of text: of words in lines (OBJ, MTL, PLY, STL, OFF, merges, cards) and of YAML."""

from __future__ import annotations

from random import Random
from typing import Any

import yaml

from tools.fuzz.mutate.json_values import edit_values
from tools.fuzz.values import SETTING_TEXTS, number, word

_YAML_LINES = [
    *(
        "base: smoke",
        "base: base.yaml",
        "base: [1]",
        "base: nothing",
        "schema: 99",
        "schema: []",
        "schema: true",
        "prompt: ''",
        "? [a, b]\n: 1",
    ),
    *(
        "<<: {steps: 1}",
        "<<: [1]",
        "a: &x {<<: *x}",
        "a: &x [*x]",
        "x: *unknown",
        "- 1",
        "---",
        "...",
        "%YAML 9.9",
        "!!set {a, b}",
        "!!omap [a: 1]",
    ),
    *(
        "coarse: &c {steps: 1, <<: *c}",
        "fine: !!python/name:os.system ''",
        "\t- a",
        "coarse: {steps: 1}",
        "coarse:",
        "fine: 3",
        "1: 2",
        "null: 1",
    ),
    *(
        "a: " + "[" * 3000,
        "b: " + "{a: " * 1000,
        "é: \x07",
        "\ufeff",
        "a: 2001-99-99",
        "a: 0b2",
        "a: !!int x",
        "a: !!float []",
        "a: !!timestamp x",
    ),
]


def mutate_words(rng: Random, data: bytes) -> bytes:
    """A word or a line replaced, repeated, moved or taken out; words that are numbers become other numbers, or names of files."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(min(len(lines), 12)) if rng.random() < 0.3 else rng.randrange(len(lines))  # headers stand at the beginning
        match rng.randrange(8):
            case 0:
                del lines[at]
                lines = lines or [b""]
            case 1:
                lines[at:at] = [lines[at]] * rng.choice((1, 2, 300))
            case 2:
                lines[at] = lines[at] + b" " + lines[rng.randrange(len(lines))]
            case 3:
                lines = lines[: at + 1]
            case _:
                lines[at] = _edit_words(rng, lines[at])
    return rng.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r")).join(lines)


def mutate_yaml(rng: Random, data: bytes) -> bytes:
    """A value of the mapping replaced, a line put in, or a value's text replaced. Raises YAMLError where `data` is no YAML."""
    if rng.random() < 0.5:
        return _dump(edit_values(rng, yaml.safe_load(data)))
    lines = data.decode().splitlines()
    at = rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            lines.insert(at, rng.choice(_YAML_LINES))
        case 1:
            lines.append(rng.choice(_YAML_LINES))
        case 2:
            lines.append(lines[at])
        case _:
            lines[at] = lines[at].split(":")[0] + ": " + rng.choice(SETTING_TEXTS)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _dump(document: Any) -> bytes:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def _edit_words(rng: Random, line: bytes) -> bytes:
    words = line.split(b" ")
    at = rng.randrange(len(words))
    match rng.randrange(6):
        case 0:
            del words[at]
        case 1:
            words.insert(at, words[rng.randrange(len(words))])
        case 2:
            words[at] = b"/".join([_number(rng)] * rng.choice((1, 2, 3, 4)))
        case 3 | 4:
            words[at] = _number(rng)
        case _:
            words[at] = word(rng).encode("utf-8", "surrogatepass")
    return b" ".join(words)


def _number(rng: Random) -> bytes:
    special = ("nan", "inf", "-inf", "1e999", "0x10", "1_0", "9" * 5000, "+1", "-0", ".", "1.", "1e", "٣", "²")
    return (rng.choice(special) if rng.random() < 0.3 else str(number(rng))).encode()
