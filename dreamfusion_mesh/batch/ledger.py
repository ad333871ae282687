"""What a batch records of its attempts as they end: the finished folder, the manifest's entries, and what whoever watches is told."""

from __future__ import annotations

import time
from typing import Literal

from dreamfusion_mesh.batch.entry import Entry, make_entry
from dreamfusion_mesh.batch.failures import leave_traces
from dreamfusion_mesh.batch.finished import best_attempt, is_fitted, read_outcome
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import Manifest
from dreamfusion_mesh.batch.records import QUALITY, Attempt, Event, Options, Outcome, Watch
from dreamfusion_mesh.run.lock import forget_holder

_PAUSE = 0.1  # seconds that records wait for others, since each time that the disk is waited for takes some milliseconds


class Ledger:
    """The records of the batch in `folder`; `done` and `failed` count the jobs that ended here.

    Records wait a moment for others. What is lost of them where the process is killed meanwhile is found in the folders.
    """

    def __init__(self, folder: BatchFolder, manifest: Manifest, options: Options, watch: Watch) -> None:
        self._folder, self._manifest, self._options, self._watch = folder, manifest, options, watch
        self._entries: list[Entry] = []
        self._waits_since = 0.0
        self.done = self.failed = 0

    def is_fitted(self, attempt: Attempt) -> bool:
        """Whether all that is left of an attempt is its delivery."""
        return is_fitted(self._folder.attempt(attempt.job.name, attempt.number))

    def finished(self, attempt: Attempt) -> Outcome | None:
        """What came of an attempt whose files are all there; None where they are not."""
        return read_outcome(self._folder.attempt(attempt.job.name, attempt.number), self._options.strict)

    def started(self, attempt: Attempt) -> None:
        """The work on an attempt begins."""
        self._append(make_entry(attempt, "started"))
        self._watch(Event("started", attempt.job.name, attempt.number))

    def killed(self, attempt: Attempt) -> None:
        """The process that was at an attempt was ended on purpose: the next one there is not to take that for a want of memory."""
        forget_holder(self._folder.attempt(attempt.job.name, attempt.number))

    def ended(self, attempt: Attempt, outcome: Outcome, trace: str | None = None) -> Attempt | None:
        """An attempt is done or has failed; gives the one that is to follow it.

        trace  what is left in its folder, where its process could not say how it failed
        Raises BadInput, whose cause is an OSError, where the disk does not take that.
        """
        if trace is not None:
            leave_traces(self._folder.attempt(attempt.job.name, attempt.number), attempt, f"{trace}\n")
        if outcome.failure is None:
            self._folder.commit(attempt)
            self.done += 1
            self._record("done", attempt, outcome)
            return None
        if outcome.may_do_better and attempt.number < self._options.retries:
            self._record("retry", attempt, outcome)
            return Attempt(attempt.job, attempt.number + 1)
        if outcome.failure in QUALITY and self._options.strict:
            outcome = self._commit_best(attempt) or outcome
        self.failed += 1
        self._record("failed", attempt, outcome)
        return None

    def patience(self) -> float | None:
        """Seconds until `flush` should be called; None where nothing was recorded."""
        if not self._entries:
            return None
        return max(0.0, self._waits_since + _PAUSE - time.monotonic())

    def flush(self) -> None:
        """Have the disk hold what was recorded. Raises as `ended` does."""
        entries, self._entries = self._entries, []
        self._manifest.append(entries)

    def _append(self, entry: Entry) -> None:
        if not self._entries:
            self._waits_since = time.monotonic()
        self._entries.append(entry)

    def _record(self, kind: Literal["done", "failed", "retry"], attempt: Attempt, outcome: Outcome) -> None:
        self._append(make_entry(attempt, "done" if kind == "done" else "failed", outcome))
        self._watch(Event(kind, attempt.job.name, attempt.number, message=outcome.message, outcome=outcome))

    def _commit_best(self, last: Attempt) -> Outcome | None:
        """Make the attempt with the fewest failed rows the job's asset; what came of it, None where no attempt has one."""
        best = best_attempt(self._folder, last.job, last.number)
        if best is None:
            return None
        self._folder.commit(best)
        return read_outcome(self._folder.asset(last.job.name), self._options.strict)
