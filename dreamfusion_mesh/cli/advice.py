"""What the line of a command that a signal ended says of how to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dreamfusion_mesh import process
from dreamfusion_mesh.cli.options import NAME


@contextmanager
def advice(how: Callable[[], str]) -> Iterator[None]:
    """Have a signal's line say how to go on."""
    try:
        yield
    except BaseException:
        if (stop := process.received()) is not None:
            stop.advice = how()
        raise


def same_command(program: str = NAME) -> str:
    """The command that this process was given, as a shell takes it; `program` is how it is called."""
    return f"{program} {shlex.join(sys.argv[1:])}".rstrip()
