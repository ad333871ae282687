"""The command line, called in this process: what it prints and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
