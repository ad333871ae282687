"""Names of files."""

from __future__ import annotations

import re

_LONGEST = 64
_WINDOWS = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def safe_name(name: str) -> str:
    """A name that is one plain file's name on every system: ASCII letters, digits, `.`, `-` and `_`, at most 64 of them.

    Anything else becomes `_`; dots, dashes and underscores at either end go, so nothing is hidden, an option or a folder. A name that
    Windows reserves for a device gets an underscore behind it, and where nothing is left the name is "asset".
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
    plain = re.sub(r"\.{2,}", ".", plain).lstrip("._-")[:_LONGEST].rstrip("._-")
    stem, dot, rest = plain.partition(".")
    if stem.lower() in _WINDOWS:
        plain = f"{stem}_{dot}{rest}"
    return plain or "asset"
