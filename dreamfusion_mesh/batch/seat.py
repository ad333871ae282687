"""One of the two processes of a worker, started when it is first needed and again after it has ended, and the attempt that it is at."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dreamfusion_mesh.batch.child import Child
from dreamfusion_mesh.batch.messages import Note, Role, Task
from dreamfusion_mesh.batch.queue import Share
from dreamfusion_mesh.batch.records import Attempt
from dreamfusion_mesh.errors import RunFailed

_REST = 30.0  # seconds until a machine that was lost is asked for again
MOST_STARTS = 3  # one after the other, of a process that has not begun any attempt


@dataclass(eq=False)
class Running:
    """An attempt between its first stage and its last file.

    share   of the worker that took it
    used    seconds of work, without those since `begun`
    begun   when the work that is under way began; None while it waits
    """

    attempt: Attempt
    share: Share
    used: float = 0.0
    begun: float | None = None

    def begin(self) -> None:
        """Its work begins, or goes on."""
        self.begun = time.monotonic()

    def pause(self) -> None:
        """Its work waits for a process, or is over."""
        if self.begun is not None:
            self.used += time.monotonic() - self.begun
        self.begun = None

    def left(self, limit: float) -> float:
        """Seconds that it may still work, of `limit`."""
        return limit - self.used - (0.0 if self.begun is None else time.monotonic() - self.begun)


@dataclass(eq=False)
class Seat:
    """A process of one role for one worker.

    start   makes a new one
    child   None where there is none now
    ready   whether it takes tasks
    starts  of it, or of its model, that came to nothing since it last began an attempt
    rests_until  no process is started before that time, by the monotonic clock
    """

    role: Role
    share: Share
    start: Callable[[], Child]
    child: Child | None = None
    running: Running | None = None
    ready: bool = False
    starts: int = field(default=0)
    rests_until: float = 0.0

    @property
    def rests(self) -> float:
        """Seconds until it may be started again; 0 where it may."""
        return 0.0 if self.child is not None else max(0.0, self.rests_until - time.monotonic())

    @property
    def is_free(self) -> bool:
        """Whether it can be given an attempt."""
        return self.running is None and not self.rests

    def rest(self) -> None:
        """Start no process for a while: there is no machine for it now."""
        self.rests_until = time.monotonic() + _REST

    def warm(self) -> Child:
        """The process, started where there is none."""
        if self.child is None:
            self.child, self.ready = self.start(), False
            self.share.told = self.share.told and self.role != "fit"
        return self.child

    def give(self, running: Running) -> None:
        """Have the process work on an attempt."""
        child = self.warm()
        self.running = running
        child.tell(Task(running.attempt, self.share.ahead() if self.role == "fit" else ()))

    def take(self) -> Running:
        """The attempt that the process is done with."""
        running, self.running = self.running, None
        assert running is not None, f"{self.role}: a note without a task"
        running.pause()
        return running

    def hear(self) -> Note | None:
        """The process's next note, None where it has ended."""
        return None if self.child is None else self.child.hear()

    def bury(self) -> tuple[int, str]:
        """The exit code of the process that has ended, and that in words."""
        assert self.child is not None, f"{self.role}: no process has ended"
        child, self.child, self.ready = self.child, None, False
        code = child.ended()
        return code, child.how_it_ended(code)

    def kill(self) -> None:
        """End the process at once, where there is one."""
        if self.child is not None:
            self.child.kill()
        self.child, self.ready = None, False

    def count_start(self, how: str) -> None:
        """A process came to nothing before it took tasks, and `how`. Raises RunFailed where that happens again and again."""
        self.starts += 1
        if self.starts >= MOST_STARTS:
            raise RunFailed(f"batch: a process to {self.role} came to nothing {self.starts} times, before it could work on a row: {how}")
