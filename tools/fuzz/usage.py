"""What a process and those it started take, from when it is first looked at."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import psutil

_ASLEEP = (psutil.STATUS_SLEEPING, psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED)
_LONGEST_SLEEP = 0.2  # between two looks: a busy machine may look late, and cannot tell how long it slept


class Usage:
    """Figures of a worker and a case, as of the last look.

    seconds   of work, also by the processes that it started and waited for, and of sleep; not of waiting for the processor
    clock     seconds
    resident  bytes of memory
    """

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)
        self._begun = self._last = time.monotonic()
        self._before = self._used = self._asleep = self.seconds = self.clock = 0.0
        self.resident = 0
        with suppress(psutil.Error):
            self._before = self._used = self._work()

    def look(self) -> None:
        """Look at the process; one that has ended leaves the figures as they are."""
        now = time.monotonic()
        with suppress(psutil.Error):
            used = self._work()
            if used == self._used and self._is_asleep():
                self._asleep += min(now - self._last, _LONGEST_SLEEP)
            self._used, self.seconds = used, used - self._before + self._asleep
            self.resident = self._process.memory_info().rss
        self._last, self.clock = now, now - self._begun

    def _work(self) -> float:
        times: Any = self._process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def _is_asleep(self) -> bool:
        family = [self._process, *self._process.children(recursive=True)]
        return all(process.status() in _ASLEEP for process in family)
