"""What is left to do of a batch: each job set against the manifest and the folders. Nothing is written."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dreamfusion_mesh.batch.entry import Entry, make_entry
from dreamfusion_mesh.batch.finished import find_attempt, is_finished, is_fitted, read_outcome
from dreamfusion_mesh.batch.folder import BatchFolder, entries
from dreamfusion_mesh.batch.names import folded_name
from dreamfusion_mesh.batch.records import QUALITY, Attempt, Job, Options, Outcome
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.run.settings import SETTINGS

_LOG = logging.getLogger(__name__)
_SHOWN = 3  # names in a message

_Made = tuple[Attempt, Outcome]  # of a finished folder
Why = Literal["new", "goes on", "changed", "failed before", "another seed", "was removed"]


@dataclass(frozen=True, slots=True)
class Todo:
    """An attempt to be made, or to be brought to its end.

    why     new: nothing was begun; goes on: it was stopped; changed: the job's finished folder, or what was begun, has other settings;
            failed before: and not in quality, so that it is tried again from where it is; another seed: the attempt before failed in
            quality; was removed: the finished folder is gone
    fitted  its fit is finished, the delivery alone is left
    """

    attempt: Attempt
    why: Why
    fitted: bool = False


@dataclass(slots=True)
class Plan:
    """What becomes of each job of a batch.

    todo        half-done ones first, else in the jobs' order
    skipped     jobs that are done
    failed      jobs that failed in quality as often as they may
    unrecorded  entries to append before the work begins, of jobs among `skipped` and `failed` whose end the manifest lacks
    obsolete    names whose attempts' folders are to be discarded before the work begins
    """

    todo: list[Todo] = field(default_factory=list)
    skipped: list[Job] = field(default_factory=list)
    failed: list[Job] = field(default_factory=list)
    unrecorded: list[Entry] = field(default_factory=list)
    obsolete: list[str] = field(default_factory=list)


def make_plan(jobs: Iterable[Job], folder: BatchFolder, latest: Mapping[str, Entry], options: Options) -> Plan:
    """What is left of `jobs`, where the manifest says `latest`. Writes nothing; jobs that have changed are named in a warning.

    Raises BadInput where something lies in the place of a job's folder that this batch did not make.
    """
    scan = _Scan(folder, latest, options)
    for job in jobs:
        scan.add(job)
    if scan.faults:
        more = len(scan.faults) - 1
        raise BadInput(scan.faults[0] + (f" (and {more} more such folder{'s' if more > 1 else ''})" if more else ""))
    changed = [todo.attempt.job.name for todo in scan.plan.todo if todo.why == "changed"]
    if changed:
        one = len(changed) == 1
        _LOG.warning(
            "%s %s changed since %s begun and will be made again; a finished folder stays until the new one is there",
            _listed(changed),
            "has" if one else "have",
            "it was" if one else "they were",
        )
    scan.plan.todo.sort(key=lambda todo: (not todo.fitted, todo.why != "goes on"))
    return scan.plan


class _Scan:
    """The jobs so far, set against what lies in the folder."""

    def __init__(self, folder: BatchFolder, latest: Mapping[str, Entry], options: Options) -> None:
        self.plan, self.faults = Plan(), list[str]()
        self._folder, self._latest, self._options = folder, latest, options
        self._there = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries(folder.path)}
        self._spelled = {folded_name(name): name for name in self._there}
        self._attempts = folder.attempts()

    def add(self, job: Job) -> None:
        """Find out what is to be done for a job."""
        entry = self._latest.get(job.name)
        same = entry if entry is not None and entry.key == job.key else None  # the entry where it is of these settings
        if same is not None and same.status == "done" and job.name in self._there and is_finished(self._folder.asset(job.name)):
            poor = self._options.strict and any(status != "pass" for status in same.audit)
            made: _Made | None = (Attempt(job, same.attempt), Outcome("audit" if poor else None))
        elif self._is_free(job):
            made = self._read(job, entry)
        else:
            return
        if made is not None and made[1].failure is None:
            self._skip(made, entry)
        elif made is not None and same is None:
            self._try_again(job, made[0].number, same)
        elif same is not None:
            self._go_on(job, same, made is not None)
        elif entry is not None:
            self._begin(job, "changed")
        else:
            self._go_on_unrecorded(job)

    def _is_free(self, job: Job) -> bool:
        """Whether the job's place holds nothing, or a run's folder; else a fault is added."""
        path = self._folder.asset(job.name)
        spelled = job.name if job.name in self._there else self._spelled.get(folded_name(job.name), job.name)
        if unicodedata.normalize("NFC", spelled) != unicodedata.normalize("NFC", job.name):
            fault = f"differs from {shown(job.name)}, the name of a row, in the case of its letters alone"
            return self._bars(path.with_name(spelled), fault, "give the row that name, or move it away")
        if spelled not in self._there:
            return True
        if not self._there[spelled]:
            return self._bars(path, "is not a folder")
        try:
            os.stat(path / SETTINGS)
        except PermissionError:
            return self._bars(path, "may not be entered", "change its permissions, or give the row another name")
        except OSError:
            return self._bars(path, f"holds no run ({SETTINGS} is missing)")
        return True

    def _bars(self, path: Path, fault: str, remedy: str = "move it away, or give the row another name") -> bool:
        self.faults.append(f"{shown(path)}: {fault}; {remedy}")
        return False

    def _read(self, job: Job, entry: Entry | None) -> _Made | None:
        """Which attempt at the job its finished folder is, and what came of it; None where it has other settings, or is not there."""
        path = self._folder.asset(job.name)
        if job.name not in self._there or (entry is not None and entry.status == "done"):
            return None
        last = max(self._options.retries, entry.attempt if entry is not None and entry.key == job.key else 0)
        if (found := find_attempt(path, job, last)) is None:
            if entry is None:
                self._bars(path, "holds a run that this batch did not make")
            return None
        outcome = read_outcome(path, self._options.strict)
        return None if outcome is None else (found, outcome)

    def _skip(self, made: _Made, entry: Entry | None) -> None:
        job = made[0].job
        self.plan.skipped.append(job)
        if entry is None or entry.status != "done":
            self.plan.unrecorded.append(make_entry(made[0], "done", made[1]))
        self._discard(job)

    def _go_on(self, job: Job, entry: Entry, made: bool) -> None:
        """A job that was begun with these settings, and is not done."""
        folder, begun = self._folder.attempt(job.name, entry.attempt), entry.attempt in self._attempts.get(job.name, ())
        poor = entry.failure in QUALITY and (entry.failure != "audit" or self._options.strict)
        if poor or (made and not (entry.status == "started" and begun)):
            self._try_again(job, entry.attempt, entry)
        elif entry.status == "done" and not begun:
            self._begin(job, "was removed", entry.attempt)
        else:
            why: Why = "failed before" if entry.status == "failed" else "goes on" if begun else "new"
            self.plan.todo.append(Todo(Attempt(job, entry.attempt), why, begun and is_fitted(folder)))

    def _try_again(self, job: Job, last: int, entry: Entry | None) -> None:
        """A job whose last attempt failed in quality: another seed, where one is left."""
        if last < self._options.retries:
            self.plan.todo.append(Todo(Attempt(job, last + 1), "another seed"))
            return
        self.plan.failed.append(job)
        if entry is None or entry.status != "failed":
            outcome = read_outcome(self._folder.asset(job.name), self._options.strict)
            self.plan.unrecorded.append(make_entry(Attempt(job, last), "failed", outcome or Outcome("audit")))

    def _go_on_unrecorded(self, job: Job) -> None:
        """A job that the manifest lacks: from the last attempt that has a folder, where that has these settings."""
        last = max(self._attempts.get(job.name, ()), default=None)
        folder = self._folder.attempt(job.name, last or 0)
        found = None if last is None else find_attempt(folder, job, last)
        if found is not None and found.number == last:
            self.plan.todo.append(Todo(found, "goes on", is_fitted(folder)))
        else:
            self._begin(job, "new")

    def _begin(self, job: Job, why: Why, number: int = 0) -> None:
        self._discard(job)
        self.plan.todo.append(Todo(Attempt(job, number), why))

    def _discard(self, job: Job) -> None:
        if job.name in self._attempts:
            self.plan.obsolete.append(job.name)


def _listed(names: Sequence[str]) -> str:
    listed, more = ", ".join(map(shown, names[:_SHOWN])), len(names) - _SHOWN
    return listed if more <= 0 else f"{listed} and {more} more"
