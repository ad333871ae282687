"""What an exception makes of an attempt, and what is left in its folder for whoever looks into it."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

from dreamfusion_mesh.batch.records import Attempt, Outcome
from dreamfusion_mesh.config import dump
from dreamfusion_mesh.errors import BadInput, PoorOutcome, RunFailed, reason
from dreamfusion_mesh.files import kind_of, remove_file, write_file
from dreamfusion_mesh.out_of_memory import describe
from dreamfusion_mesh.terminal import one_line

TRACEBACK = "traceback.txt"
_SETTINGS = "run.yaml"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException) -> bool:
    """Whether the error, or one that led to it, says that the disk is full or the user's share of it is used up."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def outcome_of(error: Exception) -> Outcome:
    """How an attempt failed that ended with this error; of a full disk, ask before."""
    message = one_line(str(error))
    if isinstance(error, PoorOutcome):
        return Outcome(error.kind, message)
    if isinstance(error, BadInput):
        return Outcome("bad input", message)
    if isinstance(error, RunFailed):
        return Outcome("error", message)
    if (asked := describe(error)) is not None:
        return Outcome("error", f"out of memory (asked for {asked})" if asked else "out of memory")
    return Outcome("error", f"{type(error).__name__}: {reason(error)}")


def leave_traces(folder: Path, attempt: Attempt, text: str) -> None:
    """Put the attempt's settings and `text` into its folder, as far as that takes them; settings that are there stay."""
    with suppress(BadInput, OSError):
        if not kind_of(folder / _SETTINGS):  # first, since a folder that holds another file alone is taken for someone else's
            write_file(folder / _SETTINGS, dump(attempt.config).encode())
        write_file(folder / TRACEBACK, text.encode("utf-8", "backslashreplace"))


def remove_traces(folder: Path) -> None:
    """Take away the text that an earlier try at the attempt has left. Raises BadInput where that fails."""
    remove_file(folder / TRACEBACK)
