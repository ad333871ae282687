"""What is left of a batch costs, about: told from the rows that are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path
from statistics import median
from typing import Annotated

from pydantic import BaseModel, Field

from dreamfusion_mesh.batch.entry import Entry
from dreamfusion_mesh.batch.finished import Provenance, read_record
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.plan import Todo
from dreamfusion_mesh.run.out import PROVENANCE_FILE

_RECENT = 50  # jobs that are looked at
_FITS = ("coarse", "fine")


class _Stage(BaseModel):
    steps: Annotated[int, Field(ge=1)]


class _Settings(BaseModel):
    coarse: _Stage
    fine: _Stage


class _Timed(Provenance):
    settings: _Settings


@dataclass(frozen=True, slots=True)
class Pace:
    """Medians over the last jobs that were done: seconds of a step of each stage, and of a delivery; of how many jobs."""

    coarse: float
    fine: float
    delivery: float
    jobs: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Jobs to be made, the steps of their fits, and seconds from the first to the last, None where no pace is known."""

    jobs: int
    steps: int
    seconds: float | None


def measured_pace(folder: BatchFolder, latest: Mapping[str, Entry]) -> Pace | None:
    """The pace of the jobs that are done, by the records in their folders; None where there are none."""
    done = (entry for entry in latest.values() if entry.status == "done")
    found = [stages for entry in nlargest(_RECENT, done, key=lambda entry: entry.time) if (stages := _pace(folder.asset(entry.name)))]
    if not found:
        return None
    coarse, fine, delivery = (median(values) for values in zip(*found, strict=True))
    return Pace(coarse, fine, delivery, len(found))


def cost(todo: Iterable[Todo], pace: Pace | None, workers: int) -> Cost:
    """What these attempts cost. One that goes on is counted whole; of one that is fitted, the delivery."""
    jobs = steps = 0
    fits = deliveries = 0.0
    for job in todo:
        settings = job.attempt.job.settings
        jobs += 1
        coarse, fine = (0, 0) if job.fitted else (settings.coarse.steps, settings.fine.steps)
        steps += coarse + fine
        if pace is not None:
            fits += coarse * pace.coarse + fine * pace.fine
            deliveries += pace.delivery
    if pace is None or not jobs:
        return Cost(jobs, steps, None if jobs else 0.0)
    longer, shorter = max(fits, deliveries), min(fits, deliveries)
    return Cost(jobs, steps, longer / workers + shorter / jobs)  # the one runs beside the other, but for the first fit or the last delivery


def _pace(run: Path) -> tuple[float, float, float] | None:
    """Seconds of a step of the coarse and of the fine stage, and of the delivery, of a finished run; None where it does not tell them."""
    try:
        record = _Timed.model_validate(read_record(run / PROVENANCE_FILE))
        coarse, fine = (record.seconds[stage] / getattr(record.settings, stage).steps for stage in _FITS)
    except (ValueError, KeyError, RecursionError):
        return None
    return coarse, fine, sum(seconds for stage, seconds in record.seconds.items() if stage not in _FITS)
