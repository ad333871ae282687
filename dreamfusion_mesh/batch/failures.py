"""What an exception makes of an attempt."""

from __future__ import annotations

import errno

from dreamfusion_mesh.batch.records import Outcome
from dreamfusion_mesh.errors import BadInput, PoorOutcome, RunFailed, reason
from dreamfusion_mesh.out_of_memory import describe
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

