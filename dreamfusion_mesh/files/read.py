"""Reading a file that is not trusted: a regular one alone, so that nothing is waited for, and within a limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files.kinds import kind_name, kind_of
from dreamfusion_mesh.files.messages import PathLike, cannot_read, shown

NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)  # for the other end of a pipe or terminal
BINARY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
BLOCK = 1 << 30  # bytes that one call of the system is given


@contextmanager
def open_file(path: PathLike, name: str | None = None) -> Iterator[int]:
    """The descriptor of a regular file, opened for reading. Raises MissingFile, or BadInput for anything else that bars it."""
    _refuse_other_kinds(kind_of(path, name) or "file", path, name)
    try:
        descriptor = os.open(path, os.O_RDONLY | BINARY | NO_WAITING)
    except OSError as error:
        raise cannot_read(path, error, name) from None
    try:
        _refuse_other_kinds(kind_name(os.fstat(descriptor)), path, name)  # it may be another one by now
        yield descriptor
    except OSError as error:
        raise cannot_read(path, error, name) from None
    finally:
        os.close(descriptor)


def read_bytes(path: PathLike, limit: int | None = None, name: str | None = None) -> bytes:
    """The bytes of a regular file. Raises BadInput as `open_file` does, and for one of more than `limit` bytes."""
    with open_file(path, name) as descriptor:
        size = os.fstat(descriptor).st_size
        blocks: list[bytes] = []
        while limit is None or size <= limit:
            block = os.read(descriptor, min(max(size - sum(map(len, blocks)), 0) + 4096, BLOCK))
            if not block:
                return b"".join(blocks)
            blocks.append(block)
            size = max(size, sum(map(len, blocks)))  # files below /proc hold more than they say
    raise BadInput(f"{name or shown(path)}: {size} bytes, more than the {limit} that are read")


def read_text(path: PathLike, limit: int | None = None, name: str | None = None) -> str:
    """The text of a UTF-8 file, with or without a mark of that, its lines ended by newline alone.

    Raises BadInput as `read_bytes` does, and where it is not UTF-8.
    """
    try:
        return read_bytes(path, limit, name).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name or shown(path)}: cannot be read (byte {error.start} is not UTF-8 text); write it as UTF-8") from None


def _refuse_other_kinds(kind: str, path: PathLike, name: str | None) -> None:
    if kind != "file":
        raise BadInput(f"{name or shown(path)}: is a {kind}; name a regular file")
