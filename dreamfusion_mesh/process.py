"""The command line as a process: signals that ask it to end let the work leave its folder in order, and the exit code tells which."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from dreamfusion_mesh import terminal

_SET_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_SAME_REQUEST = 0.4  # seconds: what sends a signal to a process and to its group, as `timeout` does, means one
_caught: list[signal.Signals] = []
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
    _caught.extend(_heeded())
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


class StopRequest:
    """The signals that asked this process to end while `gentle_signals` lasted. `select` can wait for one.

    stop   of the first one, None where none came
    again  whether another followed it, and not at once: those are one request that came by several ways
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.stop: Stopped | None = None
        self.again = False
        self._clock, self._since = clock, 0.0
        self._reader, self.writer = os.pipe()
        for end in (self._reader, self.writer):
            os.set_blocking(end, False)

    def fileno(self) -> int:
        """A descriptor that can be read once a signal came that `clear` has not been told of."""
        return self._reader

    def clear(self) -> None:
        """Let `select` wait for the next one."""
        with suppress(BlockingIOError):
            os.read(self._reader, 512)

    def note(self, number: int, frame: Any) -> None:
        """The signals' handler."""
        if self.stop is not None:
            self.again = self.again or self._clock() - self._since >= _SAME_REQUEST
            return
        if not _received:
            _received.append(Stopped(number))
        self.stop, self._since = _received[0], self._clock()

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._reader)
        os.close(self.writer)


@contextmanager
def gentle_signals() -> Iterator[StopRequest]:
    """While this lasts, SIGINT, SIGTERM and SIGHUP are noted and raise nothing, so that whoever waits for other processes can end in order.

    It is for whoever notes one to raise its Stopped. Outside the main thread, where Python sets no handlers, none is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        try:
            yield request
        finally:
            request.close()
        return
    woken = signal.set_wakeup_fd(request.writer, warn_on_full_buffer=False)
    found = {number: signal.signal(number, request.note) for number in _heeded()}
    try:
        yield request
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        request.close()


@contextmanager
def signals_held_back() -> Iterator[None]:
    """While this lasts, signals that ask to end wait; a process that is started meanwhile holds them back until `heed_signals`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _heeded())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_signals(handler: Callable[[int, Any], None]) -> None:
    """Have `handler` called for signals that ask this process to end, those that were held back included, but for those ignored."""
    found = _heeded()
    for number in found:
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, found)


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


def _heeded() -> list[signal.Signals]:
    """The signals that ask a process to end, but for those that its parent has it ignore (nohup)."""
    found = [signal.Signals(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)]
    return [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]


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
