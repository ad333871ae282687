"""`generate` and `export`: one asset from a prompt, and its files once more."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dreamfusion_mesh import process
from dreamfusion_mesh.cli.advice import advice, same_command
from dreamfusion_mesh.cli.live import live_page, view_command
from dreamfusion_mesh.cli.options import LARGEST_PORT, LEAST_FOR_RUNS, Commercial, Device, Engine, Model, Preset, Seed, Set, Strict
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import kind_of
from dreamfusion_mesh.out_of_memory import check_address_space
from dreamfusion_mesh.progress import progress
from dreamfusion_mesh.run.out import check_out, generate_command
from dreamfusion_mesh.terminal import given_text

if TYPE_CHECKING:
    from dreamfusion_mesh.audit.row import Row
    from dreamfusion_mesh.config import RunConfig
    from dreamfusion_mesh.run.result import Result


def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to make. Left out: go on with the run in --out.")] = None,
    preset: Preset = None,
    model: Model = None,
    set_: Set = None,
    seed: Seed = None,
    device: Device = None,
    engine: Engine = None,
    commercial: Commercial = False,
    strict: Strict = False,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, help="Folder of the run. Default: out/ and the prompt's words.")
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Show the surface, its views and the residual to this machine's browsers while they are fitted. "
            'Needs viser: pip install "dreamfusion-mesh[view]".',
        ),
    ] = False,
    live_port: Annotated[
        int | None, typer.Option("--live-port", metavar="N", min=0, max=LARGEST_PORT, help="Of --live; default: a free one.")
    ] = None,
) -> None:
    """Make an asset from a prompt. The same command goes on where a stopped run left off."""
    check_address_space(LEAST_FOR_RUNS)
    config = _run_config(prompt, preset, model, _changes(set_, engine), seed, device, commercial, out)
    folder = out or _folder_for(config.prompt)
    check_out(folder)
    more = [option for option, given in (("--strict", strict), ("--live", live)) if given]
    with advice(lambda: _how_to_go_on(folder, *more)), live_page(live, live_port) as heard, progress() as (report, begun):
        from dreamfusion_mesh.pipeline import generate as run

        process.raise_received()  # some imports drop what is raised in them
        result = run(config, folder, report=heard(report))
    _print_result(result, bool(begun))
    if live:
        print(f"\nTo look at it: {view_command(result.folder)}")
    _check_strict(result, strict)


def export(
    run: Annotated[Path, typer.Argument(readable=False, help="Folder of a finished run.")],
    set_: Set = None,
    device: Device = None,
    engine: Engine = None,
    commercial: Commercial = False,
    strict: Strict = False,
) -> None:
    """Redo unwrap, bake and files from a run's checkpoint alone. mesh, texture, asset, audit, raster and licence_checked may change."""
    check_address_space(LEAST_FOR_RUNS)
    kind_of(run)  # one that cannot be looked up is refused before torch is imported
    again = f"{run} is as it was, or the next command puts it right; again with: {same_command()}"
    with advice(lambda: again):
        from dreamfusion_mesh.config import DELIVERY_GROUPS, change
        from dreamfusion_mesh.run.folder import RunFolder

        config = change(RunFolder(run).config(), _changes(set_, engine), device, DELIVERY_GROUPS)
        if commercial:
            config = config.model_copy(update={"commercial": True})
        from dreamfusion_mesh.pipeline import export as redo

        process.raise_received()
        with progress() as (report, begun):
            result = redo(run, config, report=report)
    _print_result(result, bool(begun))
    _check_strict(result, strict)


def _changes(changes: list[str] | None, engine: str | None) -> list[str]:
    """Those of --set, and that of --engine, which stands for one of them."""
    return [*(changes or ()), *([] if engine is None else [f"asset.engine={engine}"])]


def _run_config(
    prompt: str | None,
    preset: str | None,
    model: str | None,
    changes: list[str],
    seed: int | None,
    device: str | None,
    commercial: bool,
    out: Path | None,
) -> RunConfig:
    from dreamfusion_mesh.config import load_config, model_settings

    prompt, changes = prompt if prompt is None else given_text(prompt), [given_text(change) for change in changes]
    if prompt is None:
        if out is None:
            raise BadInput('PROMPT: is missing; say what to make, such as "a red mushroom with white parts", or name a run with --out')
        if preset or model or changes or seed is not None or device or commercial:
            left_out = "leave out --preset, --model, --set, --seed, --device, --engine and --commercial"
            raise BadInput(f"PROMPT: is missing; without it a run goes on with its own settings, so {left_out}")
        check_out(out)
        from dreamfusion_mesh.run.folder import RunFolder

        return RunFolder(out).config()
    flags = {"prompt": prompt, "seed": seed, "device": device, "commercial": commercial or None}
    over = None if model is None else model_settings(given_text(model))
    return load_config(preset or "default", changes, {key: value for key, value in flags.items() if value is not None}, over)


def _how_to_go_on(folder: Path, *more: str) -> str:
    """The command that goes on with a run that was stopped, and from what. Imports nothing: an import may be what was stopped."""
    if not (folder / "run.yaml").is_file():
        return f"nothing was begun in {folder}; again with: {same_command()}"
    command = generate_command(folder, *more)
    found = [file.name for file in folder.glob("checkpoints/*.safetensors") if file.name.startswith(("coarse", "fine"))]
    return f"go on, from {'the last checkpoint' if found else 'the beginning'}, with: {command}"


def _folder_for(prompt: str) -> Path:
    from dreamfusion_mesh.batch.names import slug

    return Path("out") / os.fsdecode(slug(prompt).encode())  # the same bytes on disk, whatever letters the locale has


def _print_result(result: Result, anew: bool) -> None:
    """What was made `anew`, or found finished."""
    log = logging.getLogger(__name__)
    for warning in result.warnings:
        log.warning("%s", warning)
    for row in _not_passed(result):
        status = "failed" if row.status == "fail" else row.status
        log.warning("audit row %d, %s, %s: %s", row.number, row.property, status, row.detail.removeprefix(f"{status}: "))
    print(result.audit.table())
    print(f"\n{'Written to' if anew else 'Already finished, in'} {result.folder}:")
    for path in result.files.values():
        print(f"  {path}")


def _check_strict(result: Result, strict: bool) -> None:
    """Raises typer.Exit where `strict` and a row of the audit did not pass."""
    if strict and _not_passed(result):
        raise typer.Exit(1)


def _not_passed(result: Result) -> list[Row]:
    return [row for row in result.audit.rows if row.status != "pass"]
