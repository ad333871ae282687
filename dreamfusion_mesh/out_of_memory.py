"""Which errors say that memory ran out, whatever library raised them, and the one line that a user gets for it."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.limits import address_space_limit

_WORDS = re.compile(
    "|".join(
        (
            r"not enough memory|can't allocate memory",  # torch's DefaultCPUAllocator on Windows and Linux
            r"out of memory",  # CUDA, in torch and in Warp
            r"failed to allocate \d+ bytes",  # Warp
            r"std::bad_alloc",
            r"could not (?:create|execute) a primitive(?! descriptor)",  # oneDNN's, in torch, which does not say more
            r"cannot allocate memory(?! in static TLS)|os error 12\b",  # the C library's, Rust's
            r"can't start new thread",
            r"failed to map segment from shared object",  # the loader's, for a package's library
        )
    ),
    re.IGNORECASE,
)
_SIZES = (
    r"tried to allocate (?P<bytes>\d+) bytes",
    r"allocate (?P<bytes>\d+) bytes",
    r"allocate (?P<text>[\d.]+ [KMGTP]i?B)",
)
_LIBRARY = re.compile(r"([\w.+-]+\.(?:so|dll|dylib)[\w.]*)")


def check_address_space(least: int) -> None:
    """Raises OutOfMemory where this process may not map the `least` bytes that its libraries take before they do any work.

    To be asked before they are imported: an interpreter that runs out of memory in an import can go round in its own clean-up for ever.
    """
    limit = address_space_limit()
    if limit is not None and limit < least:
        have, need = readable(limit), readable(least)
        raise OutOfMemory(
            f"out of memory before the work began: {have} may be mapped, the libraries take {need}; raise the limit (ulimit -v)"
        )


def describe(error: BaseException) -> str | None:
    """What was asked for ("118.5 MiB", "libtorch_cpu.so") where `error`, or one that led to it, says that memory ran out.

    Empty where the error does not say, None where it is another error.
    """
    seen: BaseException | None = error
    while seen is not None:
        if _is_shortage(seen):
            return _asked(" ".join(str(seen).split()))
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def named_shortage(stage: str, advice: Callable[[], str]) -> Iterator[None]:
    """Turn running out of memory into RunFailed with the stage, what was asked for, and what `advice` gives then.

    Errors that already name a stage stay as they are.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemory) or (asked := describe(error)) is None:
            raise
        wanted = f" (asked for {asked})" if asked else ""
        raise OutOfMemory(f"{stage}: out of memory{wanted}; {advice()}") from error


class OutOfMemory(RunFailed):
    """Memory ran out in a stage."""


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    ours = isinstance(error, (BadInput, RunFailed))  # their texts name what users chose, such as a path
    return isinstance(error, Exception) and not ours and _WORDS.search(str(error)) is not None


def _asked(text: str) -> str:
    for pattern in _SIZES:
        if (found := re.search(pattern, text, re.IGNORECASE)) is not None:
            groups = found.groupdict()
            return groups["text"] if "text" in groups else readable(int(groups["bytes"]))
    found = _LIBRARY.search(text)
    return found[1] if found else ""


def readable(count: float) -> str:
    """A number of bytes in MiB, or in GiB from one on."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
