"""The command line as a process: signals that ask it to end let the work leave its folder in order, and the exit code tells which."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from dreamfusion_mesh import terminal

_SET_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_caught: list[int] = []
_received: list[Stopped] = []


class Stopped(BaseException):
    """A signal asked this process to end. Not a KeyboardInterrupt, which libraries turn into exits of their own.

    advice  how to go on, for the user; whoever knows it sets it while the exception passes
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.advice = ""

    @property
    def exit_code(self) -> int:
        """What shells give for the signal."""
        return 128 + self.number


def run(command_line: Callable[[], None]) -> NoReturn:
    """Run `command_line` as this process, and leave with its exit code.

    SIGINT, SIGTERM and SIGHUP raise Stopped in it, unless the parent had them ignored (nohup). A further one is ignored while the first
    one's clean-up runs, and so are all while Python ends.
    """
    terminal.protect()
    found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    _caught.extend(number for number in found if signal.getsignal(number) is not signal.SIG_IGN)
    sys.unraisablehook = _unraisable
    for number in _caught:
        signal.signal(number, _stop)
    try:
        command_line()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Stopped as stop:  # while modules are imported, before the command line could say more
        sys.stderr.write(f"error: {stop_line(stop)}\n")
        code = stop.exit_code
    except MemoryError:  # so little is left that the command line could not say where
        os.write(2, b"error: out of memory; raise the limit (ulimit -v), or end other programs\n")
        code = 1
    finally:
        ignore_signals()
    if (cause := terminal.failure()) is not None:
        sys.stderr.write(f"warning: standard output could not be written ({cause}); what was to be printed is lost, the work is not\n")
    gc.freeze()  # or Python spends seconds, as it ends, on looking for cycles among the objects of torch and others
    sys.exit(code)


def ignore_signals() -> None:
    """From now on, where `run` had them raise Stopped."""
    for number in _caught:
        signal.signal(number, signal.SIG_IGN)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, however that happens (Linux); leave if it has already.

    parent  the process that started this one, as it gave its own id
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if is_orphan(parent):  # it ended before the call took effect
        os._exit(1)


def is_orphan(parent: int) -> bool:
    """Whether the process that started this one is gone; on Windows, which gives no orphan a new parent, never."""
    return os.getppid() != parent


def received() -> Stopped | None:
    """The first Stopped that was raised, whatever became of it; None where there was none."""
    return _received[0] if _received else None


def raise_received() -> None:
    """Raise the Stopped that a library dropped, or Python, which can only ignore it in a destructor. Does nothing where none was."""
    if _received:
        raise _received[0]


def stop_line(stop: Stopped) -> str:
    """One line for the user: that the process was interrupted, by what, and how to go on."""
    how = "interrupted" if stop.number == signal.SIGINT else f"ended by {signal.Signals(stop.number).name}"
    return f"{how}; {stop.advice}" if stop.advice else how


def _stop(number: int, frame: Any) -> None:
    error = sys.exception()
    while error is not None:
        if isinstance(error, Stopped):
            return
        error = error.__context__
    if not _received:
        _received.append(Stopped(number))
    raise _received[0]


def _unraisable(found: Any) -> None:
    if not isinstance(found.exc_value, Stopped):
        sys.__unraisablehook__(found)
