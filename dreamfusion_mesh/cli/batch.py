"""`batch` and `summary`: an asset for every row of a CSV, and what became of them."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dreamfusion_mesh import process
from dreamfusion_mesh.cli.advice import advice, same_command
from dreamfusion_mesh.cli.options import LEAST_FOR_RUNS, NAME, Commercial, Device, Model, Preset, Seed, Set
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.out_of_memory import check_address_space
from dreamfusion_mesh.run.out import CONTACT, SUMMARY
from dreamfusion_mesh.terminal import given_text, one_line

if TYPE_CHECKING:
    from dreamfusion_mesh.batch.folder import BatchFolder
    from dreamfusion_mesh.batch.records import Event, Job, Options, Totals, Watch

MOST_WORKERS = 256  # on this machine
MOST_RAY_WORKERS = 2048
_MOST_RETRIES = 100


Out = Annotated[Path, typer.Option("--out", metavar="DIR", readable=False, help="Folder of the batch, in which each asset has a folder.")]
Strict = Annotated[bool, typer.Option("--strict", help="A row of the audit that failed or was not measured fails the asset.")]
Retries = Annotated[
    int,
    typer.Option(
        "--retries",
        metavar="N",
        min=0,
        max=_MOST_RETRIES,
        help="Further tries, with other seeds, at an asset that is empty, diverged or, with --strict, failed its audit.",
    ),
]
TimeLimit = Annotated[float | None, typer.Option("--time-limit", metavar="SECONDS", help="Of work on one asset; past it, the row fails.")]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=1, max=MOST_RAY_WORKERS, help="Default: one for each GPU, one on a CPU.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[HOST:PORT]",
        help="Work on the Ray cluster whose head is there (extra `ray`, docs/cluster.md); without an address on one of this machine.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what each row asks for and what all will cost, and write nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print warnings, errors and the last line alone.")]


class Log(StrEnum):
    """What standard output has while a batch runs."""

    text = "text"
    json = "json"


def batch(
    file: Annotated[Path, typer.Argument(metavar="CSV", readable=False, help="A row an asset, with at least the column `prompt`.")],
    out: Out,
    preset: Preset = None,
    model: Model = None,
    set_: Set = None,
    seed: Seed = None,
    device: Device = None,
    commercial: Commercial = False,
    strict: Strict = False,
    retries: Retries = 0,
    time_limit: TimeLimit = None,
    workers: Workers = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    log: Annotated[Log, typer.Option("--log", help="json: an object a line for each event, on standard output.")] = Log.text,
) -> None:
    """Make an asset for every row of a CSV. The same command goes on where it was stopped; rows that are done are skipped.

    A cell beats an option, an option beats the preset. Exits with 1 where a row failed.
    """
    from dreamfusion_mesh.batch.folder import BatchFolder
    from dreamfusion_mesh.batch.jobs import read_jobs
    from dreamfusion_mesh.batch.records import Options
    from dreamfusion_mesh.batch.row_settings import Flags

    options = Options(_counted(workers, ray), retries, _checked(time_limit), strict, ray)
    flags = Flags(
        preset, [given_text(change) for change in set_ or ()], seed, device, commercial, model if model is None else given_text(model)
    )
    folder = BatchFolder(out)
    folder.check()
    jobs = read_jobs(file, flags)
    if dry_run:
        from dreamfusion_mesh.cli.dry_run import print_plan

        print_plan(jobs, folder, options, flags)
        return
    check_address_space(LEAST_FOR_RUNS)
    with advice(lambda: _how_to_go_on(folder)):
        totals = _run(jobs, folder, options, quiet, log)
    raise typer.Exit(1 if totals.failed or totals.left else 0)


def summary(folder: Annotated[Path, typer.Argument(metavar="DIR", readable=False, help="Folder of a batch.")]) -> None:
    """Write a batch's summary.csv and contact.png anew, from its manifest and its folders, and print what became of the rows."""
    from dreamfusion_mesh.batch.folder import BatchFolder
    from dreamfusion_mesh.batch.summary import write_summary

    found = write_summary(BatchFolder(folder))
    counts = ", ".join(f"{count} {status}" for status, count in found.counts.items())
    total = found.counts.total()
    print(f"{total} asset{'s' if total != 1 else ''}: {counts}")
    for kind, count in found.kinds.most_common():
        print(f"  failed: {kind:<11} {count}")
    for job in found.first:
        print(f"  {job.name} ({job.kind}): {one_line(job.message)}{f'; see {shown(job.folder)}' if job.folder else ''}")
    if (more := found.counts["failed"] - len(found.first)) > 0:
        print(f"  and {more} more")
    print(f"Written to {shown(folder)}:")
    for name in (SUMMARY, CONTACT):
        print(f"  {shown(folder / name)}")


def _counted(workers: int | None, ray: str | None) -> int | None:
    if ray in (None, "local") and workers is not None and workers > MOST_WORKERS:
        raise BadInput(f"--workers {workers}: expected at most {MOST_WORKERS} on one machine; name a cluster's address with --ray for more")
    return workers


def _checked(time_limit: float | None) -> float | None:
    if time_limit is not None and not 0 < time_limit < math.inf:
        raise BadInput(f"--time-limit {time_limit}: expected seconds above 0")
    return time_limit


def _run(jobs: list[Job], folder: BatchFolder, options: Options, quiet: bool, log: Log) -> Totals:
    from dreamfusion_mesh.batch.run import run_batch
    from dreamfusion_mesh.progress.log import log_end

    code, totals = 1, None
    try:
        with _watch(jobs, folder, quiet, log) as watch:
            totals = run_batch(jobs, folder.path, options, watch)
        code = 1 if totals.failed or totals.left else 0
        _sum_up(folder)
    except BadInput:
        code = 2
        raise
    except process.Stopped as stop:
        code = stop.exit_code
        raise
    finally:
        if log == Log.json:
            log_end(code, totals)
    if log == Log.text:
        counts = f"{totals.before + totals.done} done ({totals.before} of them before), {totals.failed} failed, {totals.left} left"
        print(f"{counts}; see {shown(folder.path / SUMMARY)} and {shown(folder.path / CONTACT)}")
    return totals


def _sum_up(folder: BatchFolder) -> None:
    """Write what is not current of the summary; where that fails, the assets are done all the same."""
    from dreamfusion_mesh.batch.summary import is_current, write_summary

    try:
        if not is_current(folder):
            write_summary(folder)
    except BadInput as error:
        command = shlex.join([NAME, "summary", str(folder.path)])
        logging.getLogger(__name__).warning("%s; the assets are not touched by that; once it is mended: %s", error, command)


@contextmanager
def _watch(jobs: list[Job], folder: BatchFolder, quiet: bool, log: Log) -> Iterator[Watch]:
    """What is told of each event, on standard error and on standard output."""
    from dreamfusion_mesh.progress.batch import batch_progress
    from dreamfusion_mesh.progress.log import log_begin, log_event
    from dreamfusion_mesh.progress.tally import Tally

    def where(event: Event) -> str:
        committed = event.outcome is not None and event.outcome.failure == "audit"  # of which the best attempt is the asset
        return shown(folder.asset(event.name) if committed else folder.attempt(event.name, event.attempt))

    with batch_progress(Tally(len(jobs)), where, quiet) as show:
        if log == Log.text:
            yield show
            return
        log_begin(str(folder.path), len(jobs))

        def watch(event: Event) -> None:
            show(event)
            log_event(event)

        yield watch


def _how_to_go_on(folder: BatchFolder) -> str:
    """The command that goes on with a batch that was stopped."""
    begun = "go on with" if folder.manifest.is_file() else f"nothing was begun in {folder.path}; again with"
    return f"{begun}: {same_command()}"
