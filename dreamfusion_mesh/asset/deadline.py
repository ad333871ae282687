"""A moment by which work is to end, handed down through all its steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """Ends at `end` seconds of `clock`, which only moves forward."""

    end: float
    clock: Callable[[], float] = time.monotonic

    @staticmethod
    def after(seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """One that ends `seconds` from now."""
        return Deadline(clock() + seconds, clock)

    @property
    def left(self) -> float:
        """Seconds until it ends, never below 0."""
        return max(0.0, self.end - self.clock())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left == 0.0

    def check(self) -> None:
        """Raises TimeIsUp where it is over."""
        if self.passed:
            raise TimeIsUp


class TimeIsUp(Exception):
    """A deadline has passed amid a step that has no result yet."""
