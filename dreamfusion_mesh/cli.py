"""The command line: the only module that prints. Exit 0 done, 1 the work failed, 2 bad input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dreamfusion_mesh import __version__
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.files import kind_of
from dreamfusion_mesh.run.out import check_out

if TYPE_CHECKING:
    from dreamfusion_mesh.config import RunConfig
    from dreamfusion_mesh.run.result import Result

app = typer.Typer(
    help="Text in, game-ready textured mesh out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Preset = Annotated[str | None, typer.Option("--preset", help="Name of a preset (smoke, demo, default) or a .yaml file.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change one setting: a.b=value. May be repeated.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random draw.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Commercial = Annotated[bool, typer.Option("--commercial", help="Refuse parts whose licence bars commercial use.")]


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        app()
    except BadInput as error:
        _fail(str(error), 2)
    except RunFailed as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on from the last checkpoint", 130)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        print(f"dreamfusion-mesh {__version__}")
        raise typer.Exit


@app.command()
def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to make. Left out: go on with the run in --out.")] = None,
    preset: Preset = None,
    set_: Set = None,
    seed: Seed = None,
    device: Device = None,
    commercial: Commercial = False,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, help="Folder of the run. Default: out/ and the prompt's words.")
    ] = None,
) -> None:
    """Make an asset from a prompt. The same command goes on where a stopped run left off."""
    config = _run_config(prompt, preset, set_, seed, device, commercial, out)
    folder = out or Path("out") / _slug(config.prompt)
    check_out(folder)
    from dreamfusion_mesh.pipeline import generate as run

    with _progress() as report:
        result = run(config, folder, report=report)
    _print_result(result)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(readable=False, help="Folder of a finished run.")],
    set_: Set = None,
    device: Device = None,
    commercial: Commercial = False,
) -> None:
    """Redo unwrap, bake and files from a run's checkpoint alone. mesh, texture, asset, audit, raster and licence_checked may change."""
    kind_of(run)  # one that cannot be looked up is refused before torch is imported
    from dreamfusion_mesh.config import DELIVERY_GROUPS, change
    from dreamfusion_mesh.run.folder import RunFolder

    config = change(RunFolder(run).config(), set_ or (), device, DELIVERY_GROUPS)
    if commercial:
        config = config.model_copy(update={"commercial": True})
    from dreamfusion_mesh.pipeline import export as redo

    with _progress() as report:
        result = redo(run, config, report=report)
    _print_result(result)


@app.command()
def audit(
    file: Annotated[Path, typer.Argument(readable=False, help="A .glb, .gltf, .obj, .ply, .stl or .off file.")],
    preset: Preset = None,
    set_: Set = None,
    json_: Annotated[Path | None, typer.Option("--json", readable=False, help="Also write the result there.")] = None,
) -> None:
    """Measure whether a file is game-ready. Exits with 1 where a row fails."""
    kind_of(file)
    from dreamfusion_mesh.run.audit_file import audit_file
    from dreamfusion_mesh.run.report_file import check_report

    if json_ is not None:
        check_report(file, json_, preset)
    found = audit_file(file, preset, set_ or ())
    print(found.table())
    if json_ is not None:
        from dreamfusion_mesh.run.folder import RunFolder
        from dreamfusion_mesh.run.result import audit_document

        RunFolder(json_.parent).write_json(json_.name, audit_document(found))
    raise typer.Exit(0 if found.passed else 1)


@app.command()
def doctor() -> None:
    """List what this machine has: devices, back ends, models; found, or missing and why."""
    from dreamfusion_mesh.doctor import examine

    findings = examine()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "found  " if finding.found else "MISSING" if finding.needed else "absent "
        print(f"{mark}  {finding.group:<11} {finding.name:<{width}}  {finding.detail}")
    raise typer.Exit(0 if all(finding.found for finding in findings if finding.needed) else 1)


def _run_config(
    prompt: str | None,
    preset: str | None,
    changes: list[str] | None,
    seed: int | None,
    device: str | None,
    commercial: bool,
    out: Path | None,
) -> RunConfig:
    from dreamfusion_mesh.config import load_config

    if prompt is None:
        if out is None:
            raise BadInput('PROMPT: is missing; say what to make, such as "a red mushroom with white parts", or name a run with --out')
        if preset or changes or seed is not None or commercial:
            left_out = "leave out --preset, --set, --seed and --commercial"
            raise BadInput(f"PROMPT: is missing; without it a run goes on with its own settings, so {left_out}")
        check_out(out)
        from dreamfusion_mesh.run.folder import RunFolder

        return RunFolder(out).config()
    flags = {"prompt": prompt, "seed": seed, "device": device, "commercial": commercial or None}
    return load_config(preset or "default", changes or (), {key: value for key, value in flags.items() if value is not None})


def _slug(prompt: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in prompt.lower()).split()
    return "-".join(words)[:60].rstrip("-") or "asset"


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int, Mapping[str, float]], None]]:
    """Bars with the time left, one a stage; a plain line for each tenth where the output is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total, note="")
        note = f"residual {figures['residual']:.4f}" if "residual" in figures else ""
        bars.update(tasks[stage], completed=done, note=note)
        if not console.is_terminal and (done == total or done % max(1, total // 10) == 0):
            left = bars.tasks[tasks[stage]].time_remaining
            remaining = f"{left:.0f} s left" if left and done < total else ""
            print(", ".join(part for part in (f"{stage} {done}/{total}", note, remaining) if part), file=sys.stderr, flush=True)

    with bars:
        yield report


def _print_result(result: Result) -> None:
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(result.audit.table())
    print(f"\nWritten to {result.folder}:")
    for path in result.files.values():
        print(f"  {path}")


if __name__ == "__main__":
    main()
