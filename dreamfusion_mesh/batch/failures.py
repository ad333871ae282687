"""What an exception makes of an attempt, and what is left in its folder for whoever looks into it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dreamfusion_mesh.batch.records import Attempt, Outcome
from dreamfusion_mesh.config import dump
from dreamfusion_mesh.errors import BadInput, PoorOutcome, RunFailed, reason
from dreamfusion_mesh.files import write_file
from dreamfusion_mesh.out_of_memory import describe
from dreamfusion_mesh.run.out import TRACEBACK
from dreamfusion_mesh.run.settings import SETTINGS
from dreamfusion_mesh.terminal import one_line

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
    """Put the settings of an attempt that failed, where it left none, and `text` in its folder. Raises BadInput where that fails."""
    if not os.path.lexists(folder / SETTINGS):  # first: a run takes a folder that holds other files alone for someone else's
        write_file(folder / SETTINGS, dump(attempt.config).encode())
    write_file(folder / TRACEBACK, text.encode("utf-8", "replace"))
