"""The files that a model's file names, found by their spelling and not by parsing, so that those of a broken file are found, too."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from dreamfusion_mesh.audit.readers.files import read_bytes

_URI = re.compile(rb'"uri"\s*:\s*("(?!data:)(?:[^"\\]|\\.)*")')  # of a glTF's buffers and images
_LIBRARY = re.compile(rb"^[ \t]*mtllib[ \t]+([^\r\n]+)", re.MULTILINE)
_MAP = re.compile(rb"^[ \t]*(?:map_\w+|norm|bump|disp|decal|refl)[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_TEXTURE = re.compile(rb"^comment[ \t]+TextureFile[ \t]+([^\r\n]+)", re.MULTILINE)  # of a PLY
_MOST_WORDS = 16  # of a line: options, then a name that may have spaces


def referenced_files(path: Path) -> list[Path]:
    """Where the files that the model at `path` names may be: buffers, textures, material libraries and their textures.

    All that could be meant by its words, so most are not there. Raises BadInput where the model or a library cannot be read.
    """
    data = read_bytes(path)
    libraries = [path.parent / name for name in _names(_LIBRARY, data)] if path.suffix.lower() == ".obj" else []
    maps = [name for library in libraries if os.path.isfile(library) for name in _names(_MAP, read_bytes(library))]
    return [*libraries, *(path.parent / name for name in (*_uris(data), *_names(_TEXTURE, data), *maps))]


def _uris(data: bytes) -> Iterator[str]:
    for found in _URI.finditer(data):
        try:
            yield unquote(json.loads(found[1]))
        except ValueError:
            yield unquote(found[1][1:-1].decode(errors="replace"))


def _names(line: re.Pattern[bytes], data: bytes) -> Iterator[str]:
    """The whole of what follows a keyword, each word of it, and its last words: options may stand before a name with spaces."""
    for found in line.finditer(data):
        text = found[1].decode(errors="replace").strip().replace("\\", "/")
        words = text.split()[-_MOST_WORDS:]
        yield from dict.fromkeys((text, *words, *(" ".join(words[first:]) for first in range(len(words)))))
