"""`batch` and `summary`: many assets from a CSV, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dreamfusion_mesh.cli.options import Commercial, Device, Preset, Seed, Set, Strict


def batch(
    file: Annotated[Path, typer.Argument(metavar="CSV", readable=False, help="x")],
    preset: Preset = None,
    set_: Set = None,
    seed: Seed = None,
    device: Device = None,
    commercial: Commercial = False,
    strict: Strict = False,
) -> None:
    """Make an asset for every row of a CSV. The same command goes on where a stopped batch left off."""


def summary(folder: Annotated[Path, typer.Argument(metavar="DIR", readable=False, help="Folder of a batch.")]) -> None:
    """Write a batch's summary.csv and contact.png anew, and print the counts."""
