"""Values that parsers trip over, as a mutation puts them in the place of a sound one."""

from __future__ import annotations

from random import Random
from typing import Any

INTEGERS = [
    *(-1, 0, 1, 2, 3, 7, 64, 127, 128, 255, 256, 4095, 32767, 65535, 65536, 10**6),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, -(2**31), -(2**63), -(10**30)),
]
FLOATS = [-0.0, 0.1, 0.5, 1.5, -1.5, 1e-45, 1e-300, 1e-7, 1e7, 1e10, 1e39, 1e300, -1e300, 3.5e38]
PATHS = [
    *(
        "../sentinel/secret.png",
        "../../../../../../etc/passwd",
        "/etc/passwd",
        "/dev/null",
        "/dev/zero",
        "..",
        ".",
        "./",
        "a/../../sentinel/secret.txt",
    ),
    *(
        "%2e%2e/sentinel/secret.bin",
        "file:///etc/passwd",
        "http://127.0.0.1:9/x.png",
        "C:\\x.png",
        "\\\\host\\x",
        "~root",
        "a" * 300,
        "a/" * 300,
    ),
    *("missing.png", "asset.glb", "asset.bin", "asset.obj", "run.yaml", "\ud800.png", "x\0y", "new\nline", "-", "--help"),
]
INSIDE = [path for path in PATHS if ".." not in path and not path.startswith(("/", "~"))]  # where a command may be told to write
STRINGS = [
    *(
        "",
        " ",
        "\0",
        "null",
        "true",
        "{}",
        "[]",
        "0",
        "1e5",
        "nan",
        "\ud800",
        "é\u202e\ufeff",
        "\x1b[2J",
        "a\nb\rc\u2028d",
        "%s%n{0}",
        "x" * 5000,
    ),
    *(
        "data:,",
        "data:;base64,AAAA",
        "data:image/png;base64,iVBORw0KGgo=",
        "data:application/octet-stream;base64,====",
        "VEC3",
        "SCALAR",
        "MAT4",
    ),
    *("error: not one", "Traceback (most recent", "F32", "I64", "BOOL", "2.0", "image/jpeg", "warp", "cuda", "auto", "embedded"),
]
CONSTANTS = [None, True, False]
SETTING_TEXTS = [
    *(
        "",
        " ",
        "null",
        "~",
        "true",
        "yes",
        "010",
        "0x10",
        "0o17",
        "1_000",
        "1:30",
        "1e2",
        "1e39",
        "1e-300",
        "1e400",
        ".inf",
        "-.inf",
        ".nan",
        "nan",
    ),
    *(
        "99999999999999999999999",
        "-1",
        "0",
        "1",
        "2",
        "0.5",
        "3",
        "1.0",
        "'1'",
        '"',
        "'",
        "[",
        "]",
        "{",
        "}",
        "[1, 2]",
        "{a: 1}",
        "{a: {b: 1}}",
        "&a [*a]",
    ),
    *(
        "&a 1",
        "*a",
        "!!python/object/apply:os.getcwd []",
        "!!binary AAAA",
        "2024-01-01",
        "- 1",
        "a: b: c",
        "%",
        "@",
        "`",
        "|",
        ">",
        "#",
        "? ",
        "\t",
    ),
    *(
        "[" * 3000,
        "{a: " * 500,
        "x" * 5000,
        "é",
        "\u2028",
        "\x85",
        "\ud83d",
        "a=b",
        "=",
        "auto",
        "warp",
        "nvdiffrast",
        "cuda",
        "cpu",
        "embedded",
    ),
]


def number(rng: Random) -> int | float:
    """A whole or a broken number, small, huge or at the edge of a type."""
    return rng.choice(INTEGERS) if rng.random() < 0.6 else rng.choice(FLOATS)


def word(rng: Random) -> str:
    """A text, often the name of a file that must not be followed."""
    return rng.choice(PATHS) if rng.random() < 0.5 else rng.choice(STRINGS)


def value(rng: Random) -> Any:
    """A JSON value of any type."""
    kinds = (number, number, word, lambda rng: rng.choice(CONSTANTS), lambda rng: [], lambda rng: {})
    found = rng.choice(kinds)(rng)
    if rng.random() < 0.1:
        return rng.choice(([found], [found] * 3, {"a": found}, {"": found}, [[found]], [found] * 2000))
    return found
