"""The command line from its arguments to an exit code, with errors in lines of their own."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import typer

from dreamfusion_mesh import process
from dreamfusion_mesh.cli.app import app
from dreamfusion_mesh.cli.options import NAME, with_ray_address
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.files import check_working_folder
from dreamfusion_mesh.out_of_memory import describe
from dreamfusion_mesh.process import Stopped
from dreamfusion_mesh.terminal import logged_warnings, one_line

_Misused = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")  # click's, or that of typer's own copy


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    with logged_warnings():
        sys.exit(_run())


def _run() -> int:
    """The exit code of the command that sys.argv holds; every error that is not a bug in lines on standard error."""
    try:
        check_working_folder()
        return int(app(with_ray_address(sys.argv[1:]), standalone_mode=False, prog_name=NAME) or 0)
    except BadInput as error:
        return max(_fail(line, 2) for line in error.lines)
    except RunFailed as error:
        return _fail(str(error), 1)
    except Stopped as stop:
        process.ignore_signals()
        return _fail(process.stop_line(stop), stop.exit_code)
    except Exception as error:
        if isinstance(error, _Misused):
            return _fail(_misuse(error), 2)
        if (dropped := process.received()) is not None:  # an import or a library turned it into an error of its own
            return _fail(process.stop_line(dropped), dropped.exit_code)
        if (asked := describe(error)) is None:
            raise
        at = f" ({asked})" if asked else ""
        return _fail(f"out of memory before the work began{at}; raise the limit (ulimit -v), or end other programs", 1)


def _misuse(error: Any) -> str:
    """What is wrong with the arguments, and where they are listed."""
    path = error.ctx.command_path if getattr(error, "ctx", None) else NAME
    return f"{error.format_message().rstrip('.')}; see {path} --help"


def _fail(message: str, code: int) -> int:
    print(one_line(f"error: {message}"), file=sys.stderr)
    return code
