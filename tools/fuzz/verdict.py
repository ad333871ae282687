"""Whether a command ended as README says: its exit code, and one line on standard error for what went wrong."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

EXIT_CODES = (0, 1, 2)  # 130 and 143 are for interrupts, which no case sends
_PROGRESS = re.compile(r"(coarse|fine|deliver|evaluate) \d+/\d+(, .*)?")
_MOST_FAULTS = 51  # lines about a table: the first fifty faults, and how many more there are
_OF_A_TABLE = re.compile(r"error: \S+\.csv(, line \d+.*|: and \d+ more faults)")
_TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (None: it raised), and what it wrote to both streams."""

    code: int | str | None
    stdout: str
    stderr: str


def faults(ended: Ended) -> list[str]:
    """What is wrong with how a command ended, in words that are alike for alike faults; nothing where it is as README says."""
    found = []
    if _TRACEBACK in ended.stderr or _TRACEBACK in ended.stdout:
        found.append("traceback")
    elif ended.code not in EXIT_CODES:
        found.append(f"exit code {ended.code}")
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    wanted = {0: (0,), 1: (0, 1) if ended.stdout else (1,), 2: (1,)}  # an audit that fails says so in its table
    of_a_table = ended.code == 2 and len(errors) <= _MOST_FAULTS and all(map(_OF_A_TABLE.fullmatch, errors))
    if not (errors and of_a_table) and ended.code in EXIT_CODES and len(errors) not in wanted[int(ended.code)]:
        found.append(f"{len(errors)} error lines with exit code {ended.code}")
    stray = [line for line in lines if not line.startswith(("error:", "warning:")) and not _PROGRESS.fullmatch(line)]
    if stray and "traceback" not in found:
        found.append(f"stray line on standard error: {stray[0][:150]}")
    return found


def blame(error: BaseException, package: Path) -> str:
    """The exception, and the last line of the package that it went through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(package)]
    where = f"{Path(frames[-1].filename).relative_to(package)}:{frames[-1].lineno}" if frames else "outside the package"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:150]}"
