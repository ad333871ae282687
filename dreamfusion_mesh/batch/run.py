"""A batch, from its jobs to its folder: the lock, what is left to do, the processes that do it, and how it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Protocol

from dreamfusion_mesh.batch.child import Child, start_child
from dreamfusion_mesh.batch.entry import Entry
from dreamfusion_mesh.batch.failures import is_disk_full
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.ledger import Ledger
from dreamfusion_mesh.batch.local import Scheduler
from dreamfusion_mesh.batch.manifest import Manifest
from dreamfusion_mesh.batch.messages import Role, Setup
from dreamfusion_mesh.batch.plan import Plan, make_plan
from dreamfusion_mesh.batch.queue import Queue
from dreamfusion_mesh.batch.records import Event, Job, Options, Outcome, Totals, Watch
from dreamfusion_mesh.batch.rows import PipelineRows, Rows
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.process import gentle_signals
from dreamfusion_mesh.run.lock import locked

_PATIENCE = 1.0  # seconds, for a batch here that was killed to end


class Workers(Protocol):
    """Where processes are started: this machine, or a cluster. `count` is how many workers that has room for."""

    count: int

    def start(self, role: Role, worker: int, log: Path, setup: Setup) -> Child:
        """A process of a role for a worker, by its number from 0. Raises BadInput or RunFailed where there can be none."""
        ...


def watch_nothing(event: Event) -> None:
    """A `Watch` that does nothing."""


def run_batch(jobs: Sequence[Job], out: Path, options: Options, watch: Watch = watch_nothing, rows: Rows | None = None) -> Totals:
    """Make the assets of `jobs` in `out`, going on where an earlier call with them was stopped.

    rows  what is done with an attempt; None: the pipeline
    Raises BadInput before anything is written, where the folder is in use, holds something else or cannot be written, or where the Ray
    cluster that the options name cannot be used; RunFailed where the disk is full or no process can be started; Stopped where a signal
    asked for the end. The same call then goes on.
    """
    if os.name == "nt":
        raise BadInput("batch: needs a system with POSIX signals; on Windows, run it in WSL")
    folder = BatchFolder(out if options.ray is None else Path(os.path.abspath(out)))  # a cluster's processes have other working folders
    folder.check()
    gpus = [] if options.ray is not None else _gpus(jobs)
    with locked(out, patience=_PATIENCE), _workers(folder, jobs, options, gpus) as workers:
        try:
            return _work(folder, jobs, options, watch, rows, workers)
        except BadInput as error:
            if is_disk_full(error):
                raise _disk_full(str(error)) from error
            raise


def _work(folder: BatchFolder, jobs: Sequence[Job], options: Options, watch: Watch, rows: Rows | None, machine: Workers) -> Totals:
    manifest = Manifest(folder.manifest)
    plan = _plan(folder, manifest, jobs, options, watch)
    ledger = Ledger(folder, manifest, options, watch)
    workers = min(options.workers or machine.count, max(1, len(plan.todo)))
    queue = Queue((todo.attempt for todo in plan.todo), workers)
    setup = Setup(folder, PipelineRows(options.strict, folder.encodings, workers) if rows is None else rows)
    with gentle_signals() as request:
        scheduler = Scheduler(queue, ledger, _starter(machine, folder, setup), options.time_limit, watch, request)
        scheduler.run()
    if request.stop is not None:
        raise request.stop
    if scheduler.full is not None:
        raise _disk_full(scheduler.full)
    failed = len(plan.failed) + ledger.failed
    return Totals(len(plan.skipped), ledger.done, failed, len(plan.todo) - ledger.done - ledger.failed)


def _plan(folder: BatchFolder, manifest: Manifest, jobs: Sequence[Job], options: Options, watch: Watch) -> Plan:
    """What is left to do, once the folder is in order and the manifest says all that the folders do."""
    latest = manifest.recover()  # first: nothing is touched beside another program's. A million entries take a gigabyte, and are not kept
    folder.recover()
    plan = make_plan(jobs, folder, latest, options)
    manifest.append(plan.unrecorded)
    latest.update((entry.name, entry) for entry in plan.unrecorded)
    _tell(plan, latest, watch)
    for name in plan.obsolete:
        folder.discard(name)
    return plan


def _tell(plan: Plan, latest: Mapping[str, Entry], watch: Watch) -> None:
    """Say how much is left to do, and which jobs failed before and are not tried again."""
    watch(Event("planned", done=len(plan.skipped), total=len(plan.skipped) + len(plan.failed) + len(plan.todo)))
    for job in plan.failed:
        entry = latest[job.name]
        outcome = Outcome(entry.failure, f"{entry.message} (before; no retry is left)", entry.seconds, entry.triangles, entry.audit)
        watch(Event("failed", job.name, entry.attempt, message=outcome.message, outcome=outcome))


def _disk_full(what: str) -> RunFailed:
    return RunFailed(f"the disk is full: {what}; the same command goes on from here")


def _starter(machine: Workers, folder: BatchFolder, setup: Setup) -> Callable[[Role, int], Child]:
    return lambda role, worker: machine.start(role, worker, folder.log(worker), setup)


@contextmanager
def _workers(folder: BatchFolder, jobs: Sequence[Job], options: Options, gpus: Sequence[str]) -> Iterator[Workers]:
    """Where the options have the work done."""
    if options.ray is None:
        yield _Local(gpus)
        return
    from dreamfusion_mesh.batch.cluster.connect import connected

    with connected(options.ray, folder, {job.settings.device for job in jobs}, options.workers) as hosts:
        yield hosts


class _Local:
    """Processes of this machine, each with one of the GPUs where there are any."""

    def __init__(self, gpus: Sequence[str]) -> None:
        self.count, self._gpus = max(1, len(gpus)), gpus

    def start(self, role: Role, worker: int, log: Path, setup: Setup) -> Child:
        """See Workers."""
        environment = {"CUDA_VISIBLE_DEVICES": self._gpus[worker % len(self._gpus)]} if self._gpus else {}
        return start_child(role, log, environment, setup)


def _gpus(jobs: Sequence[Job]) -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them; none where no job asks for one, as `auto` does where there is one.

    Raises BadInput where a job names a device that is missing.
    """
    devices = {job.settings.device for job in jobs}
    if devices <= {"cpu"} or ("cuda" not in devices and _torch_is_for_cpus()):
        return []
    from dreamfusion_mesh.run.device import cards

    count = cards(required="cuda" in devices)
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (given or [str(index) for index in range(count)])[:count]


def _torch_is_for_cpus() -> bool:
    """Whether the installed torch is a build without CUDA, by its version: to import it takes seconds, and nothing else here needs it."""
    try:
        return metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False
