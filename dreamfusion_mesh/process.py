"""The command line as a process: signals that ask it to end let the work leave its folder in order, and the exit code tells which."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from dreamfusion_mesh import terminal

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_lost: list[Stopped] = []  # raised where Python can only ignore it, as in a destructor


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
    caught = [number for name in _NAMES if (number := getattr(signal, name, None)) and signal.getsignal(number) is not signal.SIG_IGN]
    sys.unraisablehook = _note_lost
    for number in caught:
        signal.signal(number, _stop)
    try:
        command_line()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Stopped as stop:  # while modules are imported, before the command line could say more
        print_line(f"error: {stop_line(stop)}")
        code = stop.exit_code
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_IGN)
    if (cause := terminal.failure()) is not None:
        print_line(f"warning: standard output could not be written ({cause}); what the command printed is lost, its work is not")
    sys.exit(code)


def stop_line(stop: Stopped) -> str:
    """One line for the user: that the process was interrupted, by what, and how to go on."""
    how = "interrupted" if stop.number == signal.SIGINT else f"ended by {signal.Signals(stop.number).name}"
    return f"{how}; {stop.advice}" if stop.advice else how


def print_line(line: str) -> None:
    """A line on standard error."""
    sys.stderr.write(line + "\n")


def raise_lost() -> None:
    """Raise the Stopped that Python had to ignore, where there was one."""
    if _lost:
        raise _lost.pop()


def _stop(number: int, frame: Any) -> None:
    error = sys.exception()
    while error is not None:
        if isinstance(error, Stopped):
            return
        error = error.__context__
    raise Stopped(number)


def _note_lost(found: Any) -> None:
    if isinstance(found.exc_value, Stopped):
        _lost.append(found.exc_value)
    else:
        sys.__unraisablehook__(found)
