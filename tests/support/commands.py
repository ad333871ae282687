"""The command line, called in this process: what it prints and its exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import pytest

from dreamfusion_mesh import cli


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def caller(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path) -> Callable[..., Ended]:
    """The command `dreamfusion-mesh` in `folder`."""

    def call(*arguments: str) -> Ended:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["dreamfusion-mesh", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(int(ended.value.code or 0), *capfd.readouterr())

    return call


def check_refused(ended: Ended | CompletedProcess[str], message: str) -> None:
    """Bad input: exit code 2, one line on the standard errors, nothing else."""
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stdout == ""


@contextmanager
def signals_arrive() -> Iterator[None]:
    """Signals that ask to end reach the processes that tests start, also where the tests run under nohup or in a shell's background."""
    ignored = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *arguments: None)  # which, unlike an ignored one, is not handed on
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
