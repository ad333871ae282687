"""The workers of a batch on a Ray cluster, as the scheduler sees them: processes like those of this machine, behind actors.

One thread waits for all actors' reports (`ray.wait`) and puts what they say into each process's pipe, where the scheduler finds it. An
actor that dies is not restarted by Ray, whose calls fail for seconds meanwhile: the scheduler's next start makes a new one, and counts.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dreamfusion_mesh.batch.cluster.host import THREAD_SETTINGS, Ended, Heard, Host
from dreamfusion_mesh.batch.messages import Note, Role, Setup, Task
from dreamfusion_mesh.errors import reason

_PLACEMENT = 60.0  # seconds for an actor to find a node with room
_ANSWER = 10.0  # seconds for an actor to end a process, before it is ended itself
_LONGEST = 200  # characters of an error there
_LOOK = 0.1  # seconds until new actors are waited for, too
_REPORTS = "reports"  # a thread of the actor of their own, so that its orders keep their order while a report waits
_PER_REPORT = 100  # workers: with more, each reports its steps less often than once a second


@dataclass(eq=False)
class _Actor:
    """A handle, the processes behind it by number, and until when it may wait for a node (None: it has one)."""

    handle: Any
    placed_by: float | None
    children: dict[int, RemoteChild] = field(default_factory=dict)


@dataclass(eq=False)
class RemoteChild:
    """A process behind an actor: see child.Child."""

    hosts: Hosts
    actor: _Actor
    number: int
    pipe: Connection
    theirs: Connection
    end: Ended | None = None

    @property
    def is_lost(self) -> bool:
        """Whether its actor died, which is no fault of the row it was at."""
        return self.end is not None and self.end.lost

    def tell(self, message: Task) -> None:
        """Send a task; one that the process has not lived to take is dropped."""
        self.hosts.order(self, "tell", message)

    def hear(self) -> Note | None:
        """The next note; None once the process has ended."""
        found = self.pipe.recv()
        if isinstance(found, Ended):
            self.end = found
            return None
        note: Note = found
        return note

    def halt(self) -> None:
        """Ask it to leave a checkpoint after the step it is at."""
        self.actor.handle.halt.remote(self.number)

    def kill(self) -> None:
        """End it at once; where its actor does not answer, that too."""
        self.hosts.end(self)
        self._close()

    def ended(self) -> int:
        """The exit code of the process that has ended."""
        assert self.end is not None, "the process has not ended"
        self.hosts.forget(self)
        self._close()
        return self.end.code

    def how_it_ended(self, code: int) -> str:
        """That in words, and where to look."""
        assert self.end is not None, "the process has not ended"
        return self.end.how

    def _close(self) -> None:
        self.pipe.close()
        self.theirs.close()


class Hosts:
    """Actors on the cluster that `ray` is connected to, one for each worker's number.

    gpus       of each actor: 1, or 0 where rows run on CPUs
    variables  of the driver's environment that set threads, as they were before Ray
    """

    def __init__(self, ray: Any, gpus: int, count: int, variables: Mapping[str, str | None]) -> None:
        self.count = count
        self._ray = ray
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        self._class = ray.remote(concurrency_groups={_REPORTS: 1}, **options)(Host)
        self._settings = dict(variables), os.getcwd(), max(1.0, count / _PER_REPORT)
        self._actors: dict[int, _Actor] = {}
        self._reports: dict[Any, _Actor] = {}
        self._orders: dict[Any, RemoteChild] = {}
        self._numbers = itertools.count()
        self._changing = threading.RLock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def start(self, role: Role, worker: int, log: Path, setup: Setup) -> RemoteChild:
        """A new process for a worker, in its actor, which is made where there is none."""
        ours, theirs = Pipe()
        with self._changing:
            actor = self._actors.get(worker) or self._make(worker)
            child = RemoteChild(self, actor, next(self._numbers), ours, theirs)
            actor.children[child.number] = child
            self.order(child, "start", role, log, setup)
        return child

    def order(self, child: RemoteChild, method: str, *arguments: object) -> None:
        """Have the actor do something for a process; what goes wrong there ends that, or nobody would hear of it again."""
        with self._changing:
            self._orders[getattr(child.actor.handle, method).remote(child.number, *arguments)] = child

    def end(self, child: RemoteChild) -> None:
        """Kill a process, or its actor where that does not answer."""
        self.forget(child)
        try:
            self._ray.get(child.actor.handle.kill.remote(child.number), timeout=_ANSWER)
        except self._ray.exceptions.RayError as error:
            self._drop(child.actor, reason(error))

    def forget(self, child: RemoteChild) -> None:
        """Nothing more is wanted from it."""
        with self._changing:
            child.actor.children.pop(child.number, None)

    def close(self) -> None:
        """End all actors."""
        self._closed.set()
        self._thread.join()
        for actor in [*self._actors.values()]:
            self._drop(actor, "the batch is over")

    def _make(self, worker: int) -> _Actor:
        actor = _Actor(self._class.remote(*self._settings), time.monotonic() + _PLACEMENT)
        self._actors[worker] = actor
        self._reports[_report(actor)] = actor
        return actor

    def _listen(self) -> None:
        while not self._closed.is_set():
            with self._changing:
                waiting = [*self._reports, *self._orders]
            if not waiting:
                self._closed.wait(_LOOK)
                continue
            ready, _ = self._ray.wait(waiting, num_returns=1, timeout=_LOOK)
            for report in ready:
                with self._changing:
                    actor, child = self._reports.pop(report, None), self._orders.pop(report, None)
                if actor is not None:
                    self._take(actor, report)
                elif child is not None:
                    self._check_order(child, report)
            self._check_placement()

    def _take(self, actor: _Actor, report: Any) -> None:
        try:
            heard: list[Heard] = self._ray.get(report)
        except self._ray.exceptions.RayError as error:
            self._drop(actor, reason(error))
            return
        with self._changing:
            actor.placed_by = None
            self._reports[_report(actor)] = actor
            found = [(actor.children.get(number), message) for number, message in heard]
        for child, message in found:
            _pass_on(child, message)

    def _check_order(self, child: RemoteChild, order: Any) -> None:
        try:
            self._ray.get(order)
        except self._ray.exceptions.RayTaskError as error:
            _pass_on(child, Ended(1, f"could not be given work by its Ray actor ({_last_line(error)})"))
        except self._ray.exceptions.RayError as error:
            self._drop(child.actor, reason(error))

    def _check_placement(self) -> None:
        now = time.monotonic()
        with self._changing:
            late = [actor for actor in self._actors.values() if actor.placed_by is not None and actor.placed_by < now]
        for actor in late:
            self._drop(actor, f"no node had room for it in {_PLACEMENT:g} s")

    def _drop(self, actor: _Actor, how: str) -> None:
        """An actor is dead or is to be: its processes are lost, and the next start makes another."""
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(actor.handle, no_restart=True)
        with self._changing:
            self._actors = {worker: other for worker, other in self._actors.items() if other is not actor}
            self._reports = {report: other for report, other in self._reports.items() if other is not actor}
            children, actor.children = [*actor.children.values()], {}
        for child in children:
            _pass_on(child, Ended(-9, f"was lost with its Ray actor ({how})", lost=True))


def _report(actor: _Actor) -> Any:
    return actor.handle.hear.options(concurrency_group=_REPORTS).remote()


def _pass_on(child: RemoteChild | None, message: Note | Ended) -> None:
    if child is not None:
        with suppress(OSError):  # the scheduler has closed it meanwhile
            child.theirs.send(message)


def _last_line(error: Exception) -> str:
    """What a traceback that Ray sends along ends with."""
    return str(error).strip().rpartition("\n")[2][:_LONGEST]


def thread_variables() -> dict[str, str | None]:
    """What this process's environment says of threads; to be asked before Ray changes it."""
    return {name: os.environ.get(name) for name in THREAD_SETTINGS}
