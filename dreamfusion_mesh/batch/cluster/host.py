"""A worker of a batch on a Ray cluster: an actor that holds one GPU, where rows want one, and the two processes that work on rows.

They are the processes of a batch on one machine (child.py), so that a row's bytes are the same; the actor passes on what the driver and
they tell each other. It returns notes, never arrays, and its processes end with it.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dreamfusion_mesh.batch.child import LocalChild, start_child
from dreamfusion_mesh.batch.messages import Note, Role, Setup, Task
from dreamfusion_mesh.errors import BadInput, RunFailed

THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_NOT_URGENT = ("stage", "warning")


@dataclass(frozen=True, slots=True)
class Ended:
    """The last that is heard of a process: its exit code, that in words, and whether it was lost with its actor."""

    code: int
    how: str
    lost: bool = False


Heard = tuple[int, Note | Ended]  # by the process's number


class Host:
    """The actor.

    environment  variables for its processes; None removes one. Ray sets OMP_NUM_THREADS, with which sums are other bits
    folder       the driver's working folder, which settings may name files in; where a node does not share it, it has its own
    pace         seconds between two reports of how far rows are; what the driver has to act on is reported at once
    """

    def __init__(self, environment: Mapping[str, str | None], folder: str, pace: float) -> None:
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        with suppress(OSError):
            os.chdir(folder)
        self._pace = pace
        self._children: dict[int, tuple[LocalChild, threading.Thread]] = {}
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()

    def start(self, number: int, role: Role, log: Path, setup: Setup) -> None:
        """Start a process, which is called `number` from now on."""
        try:
            child = start_child(role, log, {}, setup)
        except (BadInput, RunFailed) as error:
            self._heard.put((number, Ended(1, str(error))))
            return
        reader = threading.Thread(target=self._listen, args=(number, child), daemon=True)
        self._children[number] = child, reader
        reader.start()

    def tell(self, number: int, task: Task) -> None:
        """Pass a task on; one for a process that has ended is dropped."""
        if number in self._children:
            self._children[number][0].tell(task)

    def halt(self, number: int) -> None:
        """Ask a process to leave a checkpoint."""
        if number in self._children:
            self._children[number][0].halt()

    def kill(self, number: int) -> None:
        """End a process, and return once it is gone."""
        child, reader = self._children.pop(number, (None, None))
        if child is not None and reader is not None:
            child.process.kill()
            reader.join()

    def hear(self) -> list[Heard]:
        """What was told since the last call; waits until there is something, and for a moment longer where that is not urgent."""
        until = None
        found: dict[object, Heard] = {}
        while True:
            try:
                number, message = self._heard.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                return [*found.values()]
            until = until or time.monotonic() + self._pace
            stage = isinstance(message, Note) and message.kind == "stage"
            key = (number, message.text) if stage and isinstance(message, Note) else len(found)
            found[key] = number, message  # of a stage's steps the last
            if (isinstance(message, Ended) or message.kind not in _NOT_URGENT) and self._heard.empty():
                return [*found.values()]

    def _listen(self, number: int, child: LocalChild) -> None:
        while (note := child.hear()) is not None:
            self._heard.put((number, note))
        code = child.ended()
        self._heard.put((number, Ended(code, child.how_it_ended(code))))
