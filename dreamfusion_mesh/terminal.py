"""Letters in and out: standard output and error that never stop the work (closed, full, a broken pipe, without a path's letters)."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from dreamfusion_mesh.errors import BadInput

_REMEMBERED = 1000  # lines; a batch of a million rows may warn of each
_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0))}  # of control characters, as Python writes them
_FAILURES: dict[int, OSError] = {}  # by descriptor: the first time that writing failed


class _Descriptor(io.FileIO):
    """A descriptor whose writes always succeed; what the system refuses is dropped."""

    def write(self, content: Any, /) -> int:
        try:
            written: int | None = super().write(content)
        except OSError as error:
            _FAILURES.setdefault(self.fileno(), error)
            return len(content)
        if written is None:  # a pipe that does not block, and is full
            os.set_blocking(self.fileno(), True)
            return self.write(content)
        return written


def protect() -> None:
    """Put streams that never raise in the place of standard output and error, for the rest of this process.

    Letters that the encoding lacks are written as escapes. A descriptor that is closed is opened on the null device, so that no file
    of the work gets its number, and with it what libraries write there.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    sys.stdout, sys.stderr = _text(1, sys.stdout), _text(2, sys.stderr)


def failure() -> str | None:
    """Why standard output could not be written; None where it could, or where its reader wanted no more."""
    sys.stdout.flush()
    error = _FAILURES.get(1)
    return None if error is None or error.errno == errno.EPIPE else error.strerror or str(error)


def _text(descriptor: int, replaced: TextIO | None) -> TextIO:
    encoding = "utf-8" if replaced is None else replaced.encoding  # None: it was closed when Python started
    raw = _Descriptor(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=True)


def given_text(argument: str) -> str:
    """An argument that is text: UTF-8, also where the locale is another or none. Raises BadInput where it is not."""
    try:
        return os.fsencode(argument).decode() if any("\udc80" <= letter <= "\udcff" for letter in argument) else argument
    except UnicodeError:
        raise BadInput(f"{argument!r}: is not UTF-8; give the prompt and settings in that encoding") from None


def one_line(text: str) -> str:
    """A text in one line, with escapes for what would steer a terminal; spaces within it stay, as those of a path in a command have to."""
    line = " ".join(part.strip() for part in text.splitlines()).strip()
    return line.translate(_ESCAPES)


def cut(text: str, longest: int = 100) -> str:
    """The text, or its first `longest` letters and three dots."""
    return text if len(text) <= longest else f"{text[:longest]}..."


class _WarningLines(logging.Handler):
    """Prints what is logged as `warning: ...`, without those that are among the last lines already."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.printed: deque[str] = deque(maxlen=_REMEMBERED)

    def emit(self, record: logging.LogRecord) -> None:
        line = one_line(f"{record.levelname.lower()}: {record.getMessage()}")
        if line not in self.printed:
            self.printed.append(line)
            sys.stderr.write(line + "\n")


@contextmanager
def logged_warnings() -> Iterator[None]:
    """While this lasts, warnings that are logged are lines on standard error."""
    handler = _WarningLines()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
