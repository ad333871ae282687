"""The command line: it alone prints, with terminal.py and progress.py. Exit 0 done, 1 the work failed, 2 bad input, 128 + n by signal n."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dreamfusion_mesh import __version__, process
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.files import check_working_folder, kind_of
from dreamfusion_mesh.out_of_memory import check_address_space, describe
from dreamfusion_mesh.process import Stopped
from dreamfusion_mesh.progress import progress
from dreamfusion_mesh.run.out import check_out, generate_command
from dreamfusion_mesh.terminal import given_text, logged_warnings, one_line

if TYPE_CHECKING:
    from dreamfusion_mesh.config import RunConfig
    from dreamfusion_mesh.run.result import Result

_NAME = "dreamfusion-mesh"
# Bytes mapped before any work, a little less than was measured:
_LEAST_FOR_RUNS, _LEAST_FOR_AUDITS, _LEAST_FOR_DOCTOR = 1600 * 2**20, 1300 * 2**20, 900 * 2**20
_Misused = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")  # click's, or that of typer's own copy

app = typer.Typer(
    help="Text in, game-ready textured mesh out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Preset = Annotated[str | None, typer.Option("--preset", help="Name of a preset (smoke, demo, default) or a .yaml file.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change one setting: a.b=value. May be repeated.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random draw.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Commercial = Annotated[bool, typer.Option("--commercial", help="Refuse parts whose licence bars commercial use.")]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Exit with 1 where a row of the audit failed or was not measured, also of a run that is finished already; its files stay. "
        "Without it such rows are warnings. Row 1 does not need the Khronos validator: without it, it is measured by checks of its own.",
    ),
]


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    with logged_warnings():
        sys.exit(_run())


def _run() -> int:
    """The exit code of the command that sys.argv holds; every error that is not a bug in one line on standard error."""
    try:
        check_working_folder()
        return int(app(standalone_mode=False, prog_name=_NAME) or 0)
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
    path = error.ctx.command_path if getattr(error, "ctx", None) else _NAME
    return f"{error.format_message().rstrip('.')}; see {path} --help"


def _fail(message: str, code: int) -> int:
    print(one_line(f"error: {message}"), file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False
) -> None:
    if version:
        print(f"{_NAME} {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise BadInput(f"COMMAND: is missing; one of generate, export, audit, doctor; see {_NAME} --help")


@app.command()
def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to make. Left out: go on with the run in --out.")] = None,
    preset: Preset = None,
    set_: Set = None,
    seed: Seed = None,
    device: Device = None,
    commercial: Commercial = False,
    strict: Strict = False,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, help="Folder of the run. Default: out/ and the prompt's words.")
    ] = None,
) -> None:
    """Make an asset from a prompt. The same command goes on where a stopped run left off."""
    check_address_space(_LEAST_FOR_RUNS)
    config = _run_config(prompt, preset, set_, seed, device, commercial, out)
    from dreamfusion_mesh.batch.names import slug

    folder = out or Path("out") / os.fsdecode(slug(config.prompt).encode())  # the same bytes on disk, whatever letters the locale has
    check_out(folder)
    with _advice(lambda: _how_to_go_on(folder, strict)), progress() as (report, begun):
        from dreamfusion_mesh.pipeline import generate as run

        process.raise_received()  # some imports drop what is raised in them
        result = run(config, folder, report=report)
    _print_result(result, strict, bool(begun))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(readable=False, help="Folder of a finished run.")],
    set_: Set = None,
    device: Device = None,
    commercial: Commercial = False,
    strict: Strict = False,
) -> None:
    """Redo unwrap, bake and files from a run's checkpoint alone. mesh, texture, asset, audit, raster and licence_checked may change."""
    check_address_space(_LEAST_FOR_RUNS)
    kind_of(run)  # one that cannot be looked up is refused before torch is imported
    again = f"{run} is as it was, or the next command puts it right; again with: {shlex.join([_NAME, *sys.argv[1:]])}"
    with _advice(lambda: again):
        from dreamfusion_mesh.config import DELIVERY_GROUPS, change
        from dreamfusion_mesh.run.folder import RunFolder

        config = change(RunFolder(run).config(), set_ or (), device, DELIVERY_GROUPS)
        if commercial:
            config = config.model_copy(update={"commercial": True})
        from dreamfusion_mesh.pipeline import export as redo

        process.raise_received()
        with progress() as (report, begun):
            result = redo(run, config, report=report)
    _print_result(result, strict, bool(begun))


@app.command()
def audit(
    file: Annotated[Path, typer.Argument(readable=False, help="A .glb, .gltf, .obj, .ply, .stl or .off file.")],
    preset: Preset = None,
    set_: Set = None,
    json_: Annotated[Path | None, typer.Option("--json", readable=False, help="Also write the result there.")] = None,
) -> None:
    """Measure whether a file is game-ready. Exits with 1 where a row fails."""
    check_address_space(_LEAST_FOR_AUDITS)
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
    check_address_space(_LEAST_FOR_DOCTOR)
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

    prompt, changes = prompt if prompt is None else given_text(prompt), [given_text(change) for change in changes or ()]
    if prompt is None:
        if out is None:
            raise BadInput('PROMPT: is missing; say what to make, such as "a red mushroom with white parts", or name a run with --out')
        if preset or changes or seed is not None or device or commercial:
            left_out = "leave out --preset, --set, --seed, --device and --commercial"
            raise BadInput(f"PROMPT: is missing; without it a run goes on with its own settings, so {left_out}")
        check_out(out)
        from dreamfusion_mesh.run.folder import RunFolder

        return RunFolder(out).config()
    flags = {"prompt": prompt, "seed": seed, "device": device, "commercial": commercial or None}
    return load_config(preset or "default", changes, {key: value for key, value in flags.items() if value is not None})


@contextmanager
def _advice(how: Callable[[], str]) -> Iterator[None]:
    """Have a signal's line say how to go on."""
    try:
        yield
    except BaseException:
        if (stop := process.received()) is not None:
            stop.advice = how()
        raise


def _how_to_go_on(folder: Path, strict: bool) -> str:
    """The command that goes on with a run that was stopped, and from what. Imports nothing: an import may be what was stopped."""
    if not (folder / "run.yaml").is_file():
        return f"nothing was begun in {folder}; again with: {shlex.join([_NAME, *sys.argv[1:]])}"
    command = generate_command(folder, *(["--strict"] if strict else []))
    found = [file.name for file in folder.glob("checkpoints/*.safetensors") if file.name.startswith(("coarse", "fine"))]
    return f"go on, from {'the last checkpoint' if found else 'the beginning'}, with: {command}"


def _print_result(result: Result, strict: bool, anew: bool) -> None:
    """What was made `anew`, or found finished. Raises typer.Exit where `strict` and a row of the audit did not pass."""
    log = logging.getLogger(__name__)
    for warning in result.warnings:
        log.warning("%s", warning)
    wrong = [row for row in result.audit.rows if row.status != "pass"]
    for row in wrong:
        status = "failed" if row.status == "fail" else row.status
        log.warning("audit row %d, %s, %s: %s", row.number, row.property, status, row.detail.removeprefix(f"{status}: "))
    print(result.audit.table())
    print(f"\n{'Written to' if anew else 'Already finished, in'} {result.folder}:")
    for path in result.files.values():
        print(f"  {path}")
    if strict and wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    process.run(main)
