"""The most memory that a run's processes had, as its checkpoints' notes and provenance.json record it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


def peak_memory() -> dict[str, int]:
    """Bytes: "resident", the most that this process has had since it began, and where it used a card "card", torch's tensors there.

    Nothing sets these back: in a process that makes one run after the other, as a batch's does, a run has the most of all up to its own.
    The processes that a delivery starts (unwrap, hulls, the glTF validator) are not counted. Empty where the system does not tell.
    """
    resident = _peak_resident()
    card = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
    return {**({"resident": resident} if resident else {}), **({"card": card} if card else {})}


def largest(*found: Mapping[str, int]) -> dict[str, int]:
    """Of each kind of memory the largest number."""
    return {name: max(each.get(name, 0) for each in found) for name in ("resident", "card") if any(name in each for each in found)}


def _peak_resident() -> int:
    """Bytes; 0 where the system does not tell.

    On Linux from /proc, since getrusage's figure begins with that of the process which started this one.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, ValueError):
        found = None
    if found:
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
