"""A process of a batch's worker: it takes one task after the other from its parent, and fits or delivers.

Started by child.py with signals held back. What asks processes to end lets a fit finish its step and leave a checkpoint, however often it
comes, and ends a delivery at once: that starts again from the fine checkpoint. All that is printed here goes to the worker's log.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from dreamfusion_mesh import process
from dreamfusion_mesh.batch.failures import is_disk_full, leave_traces, outcome_of
from dreamfusion_mesh.batch.messages import Note, Role, Setup, Task
from dreamfusion_mesh.batch.queue import Group, group_of
from dreamfusion_mesh.batch.rows import Rows
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.out_of_memory import describe
from dreamfusion_mesh.terminal import one_line

BETWEEN_STAGE_NOTES = 0.25  # seconds


def main(role: Role, parent: int, descriptor: int) -> NoReturn:
    """Serve the process `parent` through the connection `descriptor` until that closes it."""
    worker = Worker(role, Connection(descriptor))
    process.heed_signals(worker.stop_asked)
    process.die_with_parent(parent)
    faulthandler.enable()
    logging.getLogger().addHandler(_Warnings(worker))
    with suppress(Done):
        worker.serve()
    sys.stderr.flush()
    os._exit(0)  # what libraries do as Python ends takes a second


class Done(BaseException):
    """There is no more to do here. Not an Exception, which a row's own failures are."""


class Worker:
    """One process's side of the pipe, and what it has loaded."""

    def __init__(self, role: Role, pipe: Connection) -> None:
        self.role = role
        self.pipe = pipe
        self.stopped = False
        self.spent = False  # memory ran out: what libraries hold of it by now would fail the next row, too
        self.group: Group | None = None
        self.stage, self.told_at = "", 0.0
        self.telling = threading.Lock()  # checkpoints are written in a thread, which may log

    def stop_asked(self, number: int, frame: Any) -> None:
        """The handler of signals that ask to end."""
        if self.role == "deliver":
            os._exit(128 + number)
        self.stopped = True

    def tell(self, note: Note) -> None:
        """Send a note to the parent. Raises Done where that is gone."""
        with self.telling:
            try:
                self.pipe.send(note)
            except OSError:
                raise Done from None

    def serve(self) -> NoReturn:
        """One task after the other. Raises Done where there are no more, or where this process should be replaced by another."""
        setup: Setup = self._receive()
        self.folder, rows = setup.folder, setup.rows
        rows.start(self.role)
        self.tell(Note("ready"))
        while True:
            task: Task = self._receive()
            if (note := self._outcome(rows, task)).kind == "halted":
                self.stopped = False
            self.tell(note)
            if self.spent or (note.outcome is not None and note.outcome.failure == "error" and not rows.usable()):
                raise Done

    def report(self, stage: str, done: int, total: int, figures: Mapping[str, float], scene: object) -> None:
        """A run's `Report`: the parent hears of each stage, and of its steps a few times a second."""
        now = time.monotonic()
        if stage != self.stage or now - self.told_at >= BETWEEN_STAGE_NOTES:
            self.stage, self.told_at = stage, now
            self.tell(Note("stage", stage, done, total))

    def _receive(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):  # the parent has closed the pipe, or is gone
            raise Done from None

    def _outcome(self, rows: Rows, task: Task) -> Note:
        folder, self.stage = self._folder_of(task), ""
        try:
            if self.role == "deliver":
                self.tell(Note("begun"))
                outcome = rows.deliver(task.attempt, folder, self.report)
                return Note("delivered" if outcome.failure is None else "failed", outcome=outcome)
            if (problem := self._prepare(rows, task)) is not None:
                return problem
            self.tell(Note("begun"))
            done = rows.fit(task.attempt, folder, self.report, lambda: self.stopped)
            return Note("fitted" if done else "halted")
        except Exception as error:
            return self._failed(error, task)

    def _folder_of(self, task: Task) -> Path:
        return self.folder.attempt(task.attempt.job.name, task.attempt.number)

    def _prepare(self, rows: Rows, task: Task) -> Note | None:
        """Load the task's model where another one is loaded, and encode the words to come; what went wrong, if anything did."""
        group = group_of(task.attempt.job.settings)
        try:
            if group != self.group:
                self.group = None
                rows.load(task.attempt.job.settings)
                self.group = group
                self.tell(Note("loaded"))
        except BadInput as error:
            return self._failed(error, task) if is_disk_full(error) else Note("refused", one_line(str(error)))
        except Exception as error:
            traceback.print_exc()
            return self._failed(error, task) if is_disk_full(error) else Note("unserved", outcome_of(error).message)
        rows.encode(task.ahead)
        return None

    def _failed(self, error: Exception, task: Task) -> Note:
        text = traceback.format_exc()
        self.spent = describe(error) is not None
        traceback.clear_frames(error.__traceback__)  # or what they hold stays in memory until the next failure
        gc.collect()
        try:
            if not is_disk_full(error):
                leave_traces(self._folder_of(task), task.attempt, text)
        except BadInput as problem:
            error = problem if is_disk_full(problem) else error
        if is_disk_full(error):
            return Note("disk full", one_line(str(error)))
        return Note("failed", outcome=outcome_of(error))


class _Warnings(logging.Handler):
    """Sends what is logged to the parent, and puts it into the log."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(logging.WARNING)
        self.worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(record.getMessage())
        sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {record.levelname.lower()}: {text}\n")
        self.worker.tell(Note("warning", text))
