"""What flows through a batch: jobs, the attempts at them, and what becomes of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dreamfusion_mesh.config import RunConfig

LARGEST_SEED = 2**63 - 1
MOST_JOBS = 1_000_000  # of one batch, every seed that a row's `count` makes included

Failure = Literal["bad input", "empty", "diverged", "audit", "error", "time limit", "crashed"]
QUALITY: tuple[Failure, ...] = ("empty", "diverged", "audit")  # what another seed may do better


@dataclass(frozen=True, slots=True)
class Job:
    """One asset of a batch: a row of the CSV, or one of the seeds that its `count` makes.

    name      of its folder below the batch's: safe, and unique in any case of letters
    settings  resolved; the same object for all jobs that differ in prompt and seed alone
    key       hash of the resolved settings, prompt and seed included and the device left out (see job_key)
    tags      of the row, for the summary and the gallery
    line      of the CSV, from 1, in which the row begins
    """

    name: str
    prompt: str
    seed: int
    settings: RunConfig
    key: str
    tags: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """The first try at a job (number 0), or a later one with another seed."""

    job: Job
    number: int = 0

    @property
    def seed(self) -> int:
        """See retry_seed."""
        return retry_seed(self.job.seed, self.number)

    @property
    def config(self) -> RunConfig:
        """The settings of its run."""
        return self.job.settings.model_copy(update={"prompt": self.job.prompt, "seed": self.seed})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    failure    None where its asset is done
    message    one line for the user, empty where there is nothing to say
    seconds    of work on it in this process and in those that were stopped before
    triangles  of the delivered mesh, None where there is none
    audit      each row's status, in the rows' order; empty where nothing was audited
    warnings   lines for the user
    """

    failure: Failure | None = None
    message: str = ""
    seconds: float = 0.0
    triangles: int | None = None
    audit: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def may_do_better(self) -> bool:
        """Whether another seed may: not where rows of the audit could not be measured, and none failed."""
        return self.failure in QUALITY and (self.failure != "audit" or not self.audit or "fail" in self.audit)


@dataclass(frozen=True, slots=True)
class Options:
    """How a batch runs, whatever its rows.

    workers     processes that fit; None: one for each GPU, one on a CPU
    retries     further attempts, with other seeds, at a job whose attempt failed in QUALITY
    time_limit  seconds of an attempt, from its first stage to its last file; None: none
    strict      a row of the audit that failed or was not measured fails the job
    ray         address of the Ray cluster whose processes do the work, "local": one of its own on this machine; None: without Ray
    """

    workers: int | None = None
    retries: int = 0
    time_limit: float | None = None
    strict: bool = False
    ray: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for whoever watches.

    kind     planned: of `total` jobs, `done` were done before; loaded: a worker has its model; started: an attempt's fit began; stage: it
             is at `done` of `total` of `stage`; fitted: its delivery is next; done, failed: of the job; retry: the attempt failed, another
             follows; warning: `message`
    name     of the job, empty where it concerns none
    outcome  of done, failed and retry
    """

    kind: Literal["planned", "loaded", "started", "stage", "fitted", "done", "failed", "retry", "warning"]
    name: str = ""
    attempt: int = 0
    stage: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    outcome: Outcome | None = None


Watch = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Totals:
    """Jobs of a batch: those that were done before and now, those that failed, and those left by a stop."""

    before: int
    done: int
    failed: int
    left: int


def count_seed(seed: int, index: int) -> int:
    """The seed of the `index`-th asset, from 0, that a row with `count` makes: seed + index."""
    return seed + index


def retry_seed(seed: int, attempt: int) -> int:
    """The seed of an attempt: `seed` for number 0, and then the first 63 bits of the SHA-256 of "<seed> <attempt>"."""
    if attempt == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {attempt}".encode()).digest()[:8]) >> 1
