"""`batch --dry-run`: what each row asks for, what is to be done for it, and what all will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dreamfusion_mesh.batch.cost import cost, measured_pace
from dreamfusion_mesh.batch.manifest import read_manifest
from dreamfusion_mesh.batch.plan import make_plan
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.config.yaml_text import write_value
from dreamfusion_mesh.progress.tally import duration
from dreamfusion_mesh.run.settings import differences
from dreamfusion_mesh.terminal import cut

if TYPE_CHECKING:
    from dreamfusion_mesh.batch.cost import Pace
    from dreamfusion_mesh.batch.folder import BatchFolder
    from dreamfusion_mesh.batch.plan import Plan
    from dreamfusion_mesh.batch.records import Job, Options
    from dreamfusion_mesh.batch.row_settings import Flags
    from dreamfusion_mesh.config import RunConfig

_LONGEST_NAME, _LONGEST_PROMPT = 48, 60  # characters
_WHAT = {"failed before": "tried again", "was removed": "made again"}  # others are named as the plan names them
_DONE, _FAILED = "done", "no retry left"


def print_plan(jobs: Sequence[Job], folder: BatchFolder, options: Options, flags: Flags) -> None:
    """A line for each job, then the cost. Writes nothing; raises BadInput as `make_plan` does."""
    latest = read_manifest(folder.manifest)
    plan = make_plan(jobs, folder, latest, options)
    what = _what(plan)
    preset = flags.preset or "default"
    settings = _settings(load_config(preset))
    widths = [min(_LONGEST_NAME, max(map(len, column))) for column in (["name", *(job.name for job in jobs)], ["what", *what.values()])]
    seeds = max(4, *(len(str(job.seed)) for job in jobs))
    print(f"{'name':<{widths[0]}}  {'what':<{widths[1]}}  {'seed':>{seeds}}  prompt; settings that differ from {preset}")
    for job in jobs:
        text = "; ".join(filter(None, [cut(job.prompt, _LONGEST_PROMPT), settings(job.settings)]))
        print(f"{job.name:<{widths[0]}}  {what[job.name]:<{widths[1]}}  {job.seed:>{seeds}}  {text}")
    print()
    print(_counts(what))
    print(_cost(plan, measured_pace(folder, latest), options.workers))


def _what(plan: Plan) -> dict[str, str]:
    """What is to be done for each job, by its name."""
    found = {todo.attempt.job.name: _WHAT.get(todo.why, todo.why) for todo in plan.todo}
    return {**found, **{job.name: _DONE for job in plan.skipped}, **{job.name: _FAILED for job in plan.failed}}


def _counts(what: dict[str, str]) -> str:
    counts = Counter(what.values())
    return f"{len(what)} asset{'s' if len(what) != 1 else ''}: {', '.join(f'{count} {text}' for text, count in counts.items())}"


def _cost(plan: Plan, pace: Pace | None, workers: int | None) -> str:
    """Jobs to be made, their steps, and the time."""
    found = cost(plan.todo, pace, workers or 1)
    work = f"{found.jobs} to make, {found.steps} steps"
    if found.seconds is None:
        return f"{work}; how long that takes is known once the first of this folder are done"
    with_ = f"with {workers or 1} worker{'s' if workers and workers > 1 else ''}"
    return f"{work}, about {duration(found.seconds)} {with_}" + (f", by the last {pace.jobs} that were done here" if pace else "")


def _settings(preset: RunConfig) -> Callable[[RunConfig], str]:
    """A function from a job's settings to those that differ from the preset's, in a line."""

    known: dict[int, str] = {}  # most jobs share their settings' object

    def differing(settings: RunConfig) -> str:
        if id(settings) not in known:
            found = differences(preset, settings)
            changes = [f"{name}={write_value(value)}" for name, (_, value) in found.items() if name not in ("prompt", "seed")]
            known[id(settings)] = ", ".join(changes)
        return known[id(settings)]

    return differing
