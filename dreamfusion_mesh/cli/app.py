"""The commands, in the order that `--help` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from dreamfusion_mesh import __version__
from dreamfusion_mesh.cli.batch import batch, summary
from dreamfusion_mesh.cli.evaluate import evaluate
from dreamfusion_mesh.cli.generate import export, generate
from dreamfusion_mesh.cli.look import audit, doctor, settings
from dreamfusion_mesh.cli.models import models
from dreamfusion_mesh.cli.options import NAME
from dreamfusion_mesh.cli.view import gallery, view
from dreamfusion_mesh.errors import BadInput

_COMMANDS = (generate, batch, summary, gallery, view, evaluate, export, audit, models, settings, doctor)

app = typer.Typer(
    help="Text in, game-ready textured mesh out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in _COMMANDS:
    app.command()(_command)


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False
) -> None:
    if version:
        print(f"{NAME} {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        names = ", ".join(command.__name__ for command in _COMMANDS)
        raise BadInput(f"COMMAND: is missing; one of {names}; see {NAME} --help")
