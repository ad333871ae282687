"""`evaluate`: runs against their prompts, as a judge sees them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dreamfusion_mesh import process
from dreamfusion_mesh.cli.advice import advice, same_command
from dreamfusion_mesh.cli.options import LEAST_FOR_AUDITS, Device
from dreamfusion_mesh.files import kind_of, shown, write_file
from dreamfusion_mesh.out_of_memory import check_address_space
from dreamfusion_mesh.progress import progress
from dreamfusion_mesh.terminal import given_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dreamfusion_mesh.evaluate.evaluation import Evaluation
    from dreamfusion_mesh.evaluate.records import Group

_EMBEDDED = "embedded"
_SHOWN = 3  # names in a warning


def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", readable=False, help="Folders of runs, or of batches: a group each.")],
    prompts: Annotated[
        Path,
        typer.Option("--prompts", metavar="FILE", readable=False, help="Text, a prompt a line, or CSV: all that the judge picks from."),
    ],
    judge: Annotated[str, typer.Option("--judge", metavar="embedded|MODEL", help="The CLIP that judges: its folder.")] = _EMBEDDED,
    json_: Annotated[Path | None, typer.Option("--json", metavar="F", readable=False, help="Also write the figures there.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="F", readable=False, help="Also write a page with plots and pictures there, as HTML.")
    ] = None,
    device: Device = None,
) -> None:
    """Measure how well assets fit their prompts: R-Precision, Janus, failures; groups are compared with the first one."""
    check_address_space(LEAST_FOR_AUDITS)
    for folder in runs:
        kind_of(folder)
    begun: list[str] = []
    with advice(lambda: f"{_written(begun)}; again with: {same_command()}"):
        found = _evaluate(runs, prompts, given_text(judge), device, json_, report)
        from dreamfusion_mesh.evaluate.document import document_bytes
        from dreamfusion_mesh.evaluate.page import page_bytes
        from dreamfusion_mesh.evaluate.table import table

        print(table(found))
        for target, option, content in ((json_, "--json", document_bytes), (report, "--report", page_bytes)):
            if target is not None:
                made = content(found)
                begun.append(f"{option} {shown(target)}")
                write_file(target, made, begun[-1])


def _written(begun: Sequence[str]) -> str:
    """What an interruption leaves, which may come when a file is there and not yet known to be."""
    return f"{' and '.join(begun)} may be written, and nothing else" if begun else "nothing was written"


def _evaluate(runs: Sequence[Path], prompts: Path, judge: str, device: str | None, json_: Path | None, report: Path | None) -> Evaluation:
    """All that is wrong with what was given is said before the judge is loaded."""
    from dreamfusion_mesh.config import load_config
    from dreamfusion_mesh.evaluate.evaluation import check_prompts
    from dreamfusion_mesh.evaluate.evaluation import evaluate as run
    from dreamfusion_mesh.evaluate.judges import load_judge
    from dreamfusion_mesh.evaluate.outputs import check_outputs
    from dreamfusion_mesh.evaluate.prompts import read_prompts
    from dreamfusion_mesh.evaluate.runs import read_groups
    from dreamfusion_mesh.run.device import resolve_device

    process.raise_received()  # some imports drop what is raised in them
    known = load_config("default", overrides={} if device is None else {"device": device}).device  # which says what is allowed
    check_outputs(json_, report, runs, prompts, None if judge == _EMBEDDED else Path(judge))
    pool = read_prompts(prompts)
    groups = read_groups(runs)
    check_prompts(groups, pool, shown(prompts))
    resolved = resolve_device(known)
    for group in groups:
        _warn_of_unfinished(group)
    loaded = load_judge(judge, resolved)
    with progress() as (tell, _):
        return run(groups, pool, loaded, resolved, tell)


def _warn_of_unfinished(group: Group) -> None:
    if group.unfinished:
        count, names = len(group.unfinished), ", ".join(map(shown, group.unfinished[:_SHOWN]))
        more = " and more" if count > _SHOWN else ""
        are = "row is" if count == 1 else "rows are"
        log = logging.getLogger(__name__)
        log.warning("%s: %d %s under way or left by a stop (%s%s), and left out", group.name, count, are, names, more)
