"""Bytes from disk for the readers. Files are not trusted: sizes are bounded, and only files beside the one that is read are followed."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dreamfusion_mesh import files
from dreamfusion_mesh.errors import BadInput

MAX_FILE_BYTES = 1 << 30  # of the file and of each file beside it
MAX_TRIANGLES = 10_000_000  # of one file, instances counted


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises BadInput where it is missing, no regular file, unreadable, or larger than MAX_FILE_BYTES."""
    return files.read_bytes(path, MAX_FILE_BYTES)


def read_uri(uri: Any, folder: Path, where: str) -> bytes:
    """The bytes that a URI names: data: (base64) or a file in `folder` or below it, nothing else. Raises BadInput."""
    if not isinstance(uri, str) or not uri:
        raise BadInput(f"{where}: no uri")
    if uri.startswith("data:"):
        head, comma, body = uri.partition(",")
        if not comma or not head.endswith(";base64"):
            raise BadInput(f"{where}: a data: uri that is not base64")
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise BadInput(f"{where}: a data: uri whose base64 is broken") from None
    return read_bytes(sibling_path(unquote(uri), folder, where))


def sibling_path(name: str, folder: Path, where: str) -> Path:
    """The path of a file named relative to `folder`. Raises BadInput where the name leads out of it."""
    home = folder.resolve()
    plain = name and not name.startswith("/") and not any(c in name for c in ":\\\0")
    try:
        path = (home / name).resolve() if plain and ".." not in Path(name).parts else None
    except (OSError, RuntimeError, ValueError):  # ValueError: half of a UTF-16 pair, which no file system can hold
        path = None
    if path is None or not path.is_relative_to(home):
        raise BadInput(f"{where}: {excerpt(name)} is not a file beside this one; only plain relative names are followed")
    return path


def excerpt(value: Any) -> str:
    """The value's repr, shortened for a message."""
    try:
        text = repr(value)
    except ValueError:  # an integer too long to write
        text = "a very large number"
    return text if len(text) <= 60 else text[:57] + "..."
