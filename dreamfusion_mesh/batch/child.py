"""A process of a batch's worker, as the parent sees it: started with signals held back, spoken to through a pipe, killed where need be."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO, Protocol

from dreamfusion_mesh.batch.messages import Note, Role, Setup, Task
from dreamfusion_mesh.errors import RunFailed, reason
from dreamfusion_mesh.files import cannot_write, shown
from dreamfusion_mesh.process import signals_held_back

# Of multiprocessing the pipes alone: its own start imports the program's main module again in each process, a user's script too, and what
# fails meanwhile is printed where the parent prints.
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from dreamfusion_mesh.batch import worker
worker.main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""
_PATIENCE = 10.0  # seconds, for a process that has closed its pipe to end


class Child(Protocol):
    """A process of a batch's worker, on this machine or on a cluster's (cluster/hosts.py).

    pipe     can be read once there is a note, or the process has ended
    is_lost  whether it ended with the machine or the actor that held it, which is no fault of the row it was at
    """

    @property
    def pipe(self) -> Connection: ...
    @property
    def is_lost(self) -> bool: ...

    def tell(self, message: Task) -> None:
        """Send a task; one that the process has not lived to take is dropped."""
        ...

    def hear(self) -> Note | None:
        """The next note; None once the process has ended."""
        ...

    def halt(self) -> None:
        """Ask it to leave a checkpoint after the step it is at."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def ended(self) -> int:
        """The exit code of a process that has ended, minus the signal's number where one killed it."""
        ...

    def how_it_ended(self, code: int) -> str:
        """An exit code in words, and where to look."""
        ...


@dataclass(frozen=True)
class LocalChild:
    """A process that serves this one; `log` has what it prints."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    log: Path
    is_lost: bool = False

    def tell(self, message: Setup | Task) -> None:
        """Send a message; one that the process has not lived to take is dropped."""
        with suppress(OSError):
            self.pipe.send(message)

    def hear(self) -> Note | None:
        """The next note; None once the process has ended."""
        try:
            note: Note = self.pipe.recv()
            return note
        except (EOFError, OSError, pickle.UnpicklingError):
            return None

    def halt(self) -> None:
        """Ask it to leave a checkpoint after the step it is at."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()

    def ended(self) -> int:
        """The exit code of a process that has closed its pipe, minus the signal's number where one killed it."""
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.pipe.close()
        return self.process.wait()

    def how_it_ended(self, code: int) -> str:
        """An exit code in words, and where to look."""
        if code < 0:
            with suppress(ValueError):
                name = signal.Signals(-code).name
                memory = ", perhaps for want of memory" if name == "SIGKILL" else ""
                return f"was killed by {name}{memory}; its log is {shown(self.log)}"
        return f"ended with exit code {code}; its log is {shown(self.log)}"


def start_child(role: Role, log: Path, environment: Mapping[str, str], setup: Setup) -> LocalChild:
    """A new process that takes tasks of `role`. Raises BadInput where its log cannot be written, RunFailed where it cannot be started."""
    with _open_log(log) as output:
        ours, theirs = Pipe()
        arguments = [json.dumps(sys.path), role, str(os.getpid()), str(theirs.fileno())]
        try:
            with signals_held_back():
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **environment},
                    pass_fds=[theirs.fileno()],
                )
        except OSError as error:
            ours.close()
            raise RunFailed(f"batch: no process to {role} can be started ({reason(error)}); lower --workers, or end others") from error
        finally:
            theirs.close()
    child = LocalChild(process, ours, log)
    child.tell(setup)
    return child


def _open_log(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "ab", buffering=0)
    except OSError as error:
        raise cannot_write(path, error) from error
