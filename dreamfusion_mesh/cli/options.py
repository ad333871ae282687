"""Options that commands share, and what a process has to be able to map for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

NAME = "dreamfusion-mesh"
LARGEST_PORT = 65535

# Bytes mapped before any work, a little less than was measured:
LEAST_FOR_RUNS, LEAST_FOR_AUDITS, LEAST_FOR_DOCTOR = 1600 * 2**20, 1300 * 2**20, 900 * 2**20

Preset = Annotated[str | None, typer.Option("--preset", help="Name of a preset (smoke, demo, quick, default) or a .yaml file.")]
Model = Annotated[
    str | None,
    typer.Option("--model", help=f"Name of a model, with the settings that suit it (`{NAME} models` lists them), or a folder or id."),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help=f"Change one setting: a.b=value. May be repeated. `{NAME} settings` lists them.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random draw.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Engine = Annotated[str | None, typer.Option("--engine", help="generic, unreal, unity or godot: whose names and axes the files have.")]
Commercial = Annotated[bool, typer.Option("--commercial", help="Refuse parts whose licence bars commercial use.")]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Exit with 1 where a row of the audit failed or was not measured, also of a run that is finished already; its files stay. "
        "Without it such rows are warnings. Row 1 needs the Khronos validator.",
    ),
]


def with_ray_address(words: Sequence[str]) -> list[str]:
    """The command line's words, with `--ray=local` for a `--ray` without an address: options that may have a value are not Typer's."""
    found = list(words)
    if found[:1] != ["batch"]:
        return found
    for index, word in enumerate(found):
        following = found[index + 1] if index + 1 < len(found) else ""
        if word == "--":
            break
        if word == "--ray" and ":" not in following and following != "local":
            found[index] = "--ray=local"
    return found
