"""Prompts x settings x seeds as batches, one for each setting."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.names import made_name
from dreamfusion_mesh.batch.records import Event, Job, Options, Totals
from dreamfusion_mesh.batch.row_settings import job_key
from dreamfusion_mesh.batch.rows import Rows
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.batch.summary import write_summary
from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.progress.batch import batch_progress
from dreamfusion_mesh.progress.tally import Tally


def spread(whole: int, count: int) -> list[int]:
    """`count` rows of `whole`, or all, evenly: every so many rows, on from the top where the end is reached.

    The step shares no factor with `whole`: of the held-out prompts, whose three forms a kind follow one another, all forms are seen.
    """
    step = -(-whole // count)
    while math.gcd(step, whole) > 1:
        step += 1
    return [row * step % whole for row in range(min(count, whole))]


def jobs(prompts: Sequence[str], seeds: Sequence[int], config: RunConfig) -> list[Job]:
    """A job for each prompt and seed: all prompts with the first seed, then with the next, so that what is stopped early is even."""
    settings = config.model_copy(update={"prompt": "", "seed": 0})
    return [
        Job(made_name(prompt, seed), prompt, seed, settings, job_key(settings, prompt, seed))
        for seed, prompt in itertools.product(seeds, prompts)
    ]


def run_settings(
    listed: Mapping[str, RunConfig], prompts: Sequence[str], seeds: Sequence[int], out: Path, options: Options, rows: Rows | None = None
) -> list[Totals]:
    """A batch in `out`/<name> for each of `listed`, in its order; what was done before is skipped. `rows` as in `run_batch`.

    Raises as `run_batch` does; all folders are looked at before the first batch begins.
    """
    folders = [BatchFolder(out / name) for name in listed]
    for folder in folders:
        folder.check()
    totals = []
    for folder, config in zip(folders, listed.values(), strict=True):
        work = jobs(prompts, seeds, config)
        with batch_progress(Tally(len(work)), lambda event, folder=folder: _where(folder, event)) as watch:
            totals.append(run_batch(work, folder.path, options, watch, rows))
        write_summary(folder)
    return totals


def _where(folder: BatchFolder, event: Event) -> str:
    return shown(folder.attempt(event.name, event.attempt))
