"""`models`: what can guide, under which licence, and whether it is here; and fetching it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dreamfusion_mesh.cli.options import LEAST_FOR_DOCTOR
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.out_of_memory import check_address_space
from dreamfusion_mesh.terminal import given_text


def models(
    name: Annotated[str | None, typer.Argument(help="A model, whose card is shown. Left out: a table of all.")] = None,
    download: Annotated[
        str | None,
        typer.Option("--download", metavar="NAME|ID", help="Fetch one into the hub's local cache: safetensors and configs alone."),
    ] = None,
) -> None:
    """List the models that can guide: family, licence, size, memory, and whether they are here; or fetch one from the hub."""
    check_address_space(LEAST_FOR_DOCTOR)
    from dreamfusion_mesh.guidance.weights.catalogue import card, catalogue, to_fetch
    from dreamfusion_mesh.guidance.weights.hub import download as fetch

    if download is None:
        print(catalogue() if name is None else card(given_text(name)), end="")
        return
    if name is not None:
        raise BadInput(f"models {name!r:.80}: give a name to look at, or --download with one to fetch, not both")
    asked = given_text(download)
    folder = fetch(to_fetch(asked), lambda line: print(line, file=sys.stderr, flush=True))
    print(f"{folder}\nuse it with: dreamfusion-mesh generate PROMPT --model {asked}")
