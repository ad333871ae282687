"""The scheduler of a batch, here or on a cluster: which process works on what, how long it may, and what follows when it ends.

Each worker has a process that fits and one that delivers, so that the next attempt is fitted while the last one is unwrapped, baked and
written. One loop in the parent waits for all of them, and for signals.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait

from dreamfusion_mesh.batch.child import Child
from dreamfusion_mesh.batch.ledger import Ledger
from dreamfusion_mesh.batch.messages import Note, Role
from dreamfusion_mesh.batch.queue import Queue, group_of
from dreamfusion_mesh.batch.records import Attempt, Event, Failure, Outcome, Watch
from dreamfusion_mesh.batch.seat import MOST_STARTS, Running, Seat
from dreamfusion_mesh.process import StopRequest

WAITING = 4  # fitted attempts that may wait for their delivery, for each worker
_AT_ONCE = 1000  # failures that are recorded between two looks at the processes
_MOST_LOSSES = 3  # of machines that were at one attempt
_NOT_LOADED = f"its model could not be loaded, {MOST_STARTS} times"
_LONGEST_WAIT = 86400.0  # seconds; the system refuses to wait for more than 24 days
_ASKED_TO_END = {128 + number for number in (1, 2, 15)}  # exit codes of a delivery that a signal has ended


class Scheduler:
    """Works through a queue; `run` returns once all is done or a stop was asked for.

    start  makes a process of a role for a worker, by its number from 0
    full   what a process said of the disk that is full, None where none is
    """

    def __init__(
        self,
        queue: Queue,
        ledger: Ledger,
        start: Callable[[Role, int], Child],
        time_limit: float | None,
        watch: Watch,
        request: StopRequest,
    ) -> None:
        self.queue, self.ledger, self.watch, self.request = queue, ledger, watch, request
        self.time_limit = time_limit
        self.full: str | None = None
        self._stopping = False
        self._waiting: deque[Running] = deque()
        self._refused: deque[tuple[Attempt, Outcome]] = deque()
        self._losses: Counter[str] = Counter()
        shares = [*enumerate(queue.shares)]
        self._fits = [Seat("fit", share, partial(start, "fit", number)) for number, share in shares]
        self._deliveries = [Seat("deliver", share, partial(start, "deliver", number)) for number, share in shares]
        self._seats = [*self._fits, *self._deliveries]

    def run(self) -> None:
        """Raises RunFailed where no process can work on anything, and BadInput where the records cannot be written."""
        try:
            while not self._is_over():
                self._hand_out()
                self._listen()
                self._check_time()
                self._record_refused()
                if self.ledger.patience() == 0.0:
                    self.ledger.flush()
        finally:
            for seat in self._seats:
                self._kill(seat)
            self.ledger.flush()

    def _is_over(self) -> bool:
        if self.request.again:
            return True
        if self._stopping:
            return not any(seat.running for seat in self._seats)
        return not (len(self.queue) or self._waiting or self._refused or any(seat.running for seat in self._seats))

    def _hand_out(self) -> None:
        """Give each idle process its next attempt, but no fits while many wait for their delivery."""
        if self._stopping:
            return
        for fit, delivery in zip(self._fits, self._deliveries, strict=True):
            while fit.is_free and len(self._waiting) < WAITING * len(self._fits) and (attempt := self.queue.take(fit.share)):
                running = Running(attempt, fit.share)
                if self.ledger.is_fitted(attempt):
                    self.ledger.started(attempt)
                    self._fitted(running)
                else:
                    fit.give(running)
                    if delivery.is_free:
                        delivery.warm()  # while the first attempt is fitted
        for delivery in self._deliveries:
            if delivery.is_free and self._waiting:
                delivery.give(self._waiting.popleft())

    def _listen(self) -> None:
        """Wait for the next notes, processes that end, signals, or an attempt's time to be up, and act on them."""
        talking = {seat.child.pipe.fileno(): seat for seat in self._seats if seat.child is not None}
        for found in wait([*talking, self.request.fileno()], self._patience()):
            if found == self.request.fileno():
                self.request.clear()
            elif isinstance(found, int):
                self._hear(talking[found])
        if self.request.stop is not None and not self._stopping:
            self._stop()

    def _hear(self, seat: Seat) -> None:
        while seat.child is not None:
            note = seat.hear()
            if note is None:
                self._lost(seat)
            else:
                self._act(seat, note)
                if seat.child is not None and not seat.child.pipe.poll():
                    return

    def _act(self, seat: Seat, note: Note) -> None:
        name, number = (seat.running.attempt.job.name, seat.running.attempt.number) if seat.running else ("", 0)
        match note.kind:
            case "ready":
                seat.ready = True
            case "loaded":
                self.watch(Event("loaded"))
            case "warning":
                self.watch(Event("warning", name, number, message=note.text))
            case "stage":
                self.watch(Event("stage", name, number, note.text, note.done, note.total))
            case "begun":
                self._begun(seat)
            case "fitted":
                self._fitted(seat.take())
            case "delivered" | "failed" if note.outcome is not None:
                self._end(seat.take(), note.outcome)
            case "halted":
                self._put_back(seat)
            case "unserved":
                self._unserved(seat, Outcome("error", f"{_NOT_LOADED}: {note.text}"))
            case "refused":
                self._refuse(seat.take(), Outcome("bad input", note.text))
            case "disk full":
                self.full = note.text
                self._put_back(seat)
                if not self._stopping:
                    self._stop()

    def _begun(self, seat: Seat) -> None:
        if seat.running is not None:
            seat.running.begin()
            seat.starts = 0
            if seat.role == "fit":
                self.ledger.started(seat.running.attempt)

    def _fitted(self, running: Running) -> None:
        self._waiting.append(running)
        self.watch(Event("fitted", running.attempt.job.name, running.attempt.number))

    def _end(self, running: Running, outcome: Outcome, trace: str | None = None) -> None:
        outcome = outcome if outcome.seconds else replace(outcome, seconds=running.used)
        if (following := self.ledger.ended(running.attempt, outcome, trace)) is not None:
            self.queue.put_back(running.share, following)

    def _put_back(self, seat: Seat) -> None:
        """Have the attempt that a process is at made again, from its checkpoint where it has left one."""
        running = seat.take()
        if seat.role == "fit":
            self.queue.put_back(running.share, running.attempt)
        else:
            self._waiting.appendleft(running)

    def _unserved(self, seat: Seat, outcome: Outcome) -> None:
        """An attempt's model could not be loaded now. Where that happens again and again, its group's attempts end so, and others go on."""
        seat.starts += 1
        if seat.starts < MOST_STARTS:
            self._put_back(seat)
        else:
            seat.starts = 0
            self._refuse(seat.take(), outcome)

    def _refuse(self, running: Running, outcome: Outcome) -> None:
        """Fail all attempts of a group whose model cannot be used, without a look at it for each."""
        group = group_of(running.attempt.job.settings)
        self._refused.extend((attempt, outcome) for attempt in (running.attempt, *self.queue.take_group(group)))

    def _record_refused(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._refused))):
            attempt, outcome = self._refused.popleft()
            self.ledger.ended(attempt, outcome, outcome.message)

    def _lost(self, seat: Seat) -> None:
        """A process has ended by itself, or was killed by another."""
        was_ready, is_lost = seat.ready, seat.child is not None and seat.child.is_lost
        code, how = seat.bury()
        if is_lost and not self._stopping:
            self._machine_lost(seat, was_ready, how)
        elif seat.running is None:
            if not was_ready and not self._stopping:
                seat.count_start(f"it {how}")
        elif self._stopping or (seat.role == "deliver" and code in _ASKED_TO_END):
            if code in _ASKED_TO_END:
                self.ledger.killed(seat.running.attempt)
            self._put_back(seat)
        elif seat.running.begun is None and was_ready and seat.role == "fit":
            self._unserved(seat, Outcome("crashed", f"{_NOT_LOADED}: its process {how}"))
        elif seat.running.begun is None:
            self._put_back(seat)
            seat.count_start(f"it {how}")
        else:
            self._fail(seat.take(), "crashed", f"its process {how}")

    def _machine_lost(self, seat: Seat, was_ready: bool, how: str) -> None:
        """A process has ended with its machine: its attempt, if that is not done, is made again, a few times."""
        if not was_ready:
            seat.rest()
            if not any(other.ready for other in self._fits):
                seat.count_start(f"it {how}")
        if seat.running is None:
            return
        attempt = seat.running.attempt
        self._losses[attempt.job.name] += seat.running.begun is not None
        self.ledger.killed(attempt)
        if self._losses[attempt.job.name] >= _MOST_LOSSES or self.ledger.finished(attempt) is not None:
            self._fail(seat.take(), "crashed", f"its process {how}")
        else:
            self._put_back(seat)

    def _fail(self, running: Running, failure: Failure, message: str) -> None:
        """An attempt whose process has ended: it failed, unless all but the last note of its process was done."""
        if (outcome := self.ledger.finished(running.attempt)) is not None:
            self._end(running, outcome)
            return
        self._end(running, Outcome(failure, message, running.used), message)

    def _kill(self, seat: Seat) -> None:
        """End a process at once, and leave nothing of that for the next one to warn of."""
        seat.kill()
        if seat.running is not None:
            self.ledger.killed(seat.running.attempt)

    def _check_time(self) -> None:
        """Kill what works on an attempt for longer than it may."""
        if self.time_limit is None or self._stopping:
            return
        for seat in self._seats:
            if seat.running is not None and seat.running.begun is not None and seat.running.left(self.time_limit) <= 0:
                self._kill(seat)
                what = "fit" if seat.role == "fit" else "delivery"
                self._fail(seat.take(), "time limit", f"was not done after {self.time_limit:g} s, in its {what}; raise --time-limit")

    def _patience(self) -> float | None:
        """Seconds until something is due: a record, or the end of an attempt's time; None where nothing is."""
        if self._refused:
            return 0.0
        due = [] if (flush := self.ledger.patience()) is None else [flush]
        due += [seat.rests for seat in self._seats if seat.rests]
        if self.time_limit is not None and not self._stopping:
            due += [seat.running.left(self.time_limit) for seat in self._seats if seat.running and seat.running.begun is not None]
        return max(0.0, min(_LONGEST_WAIT, *due)) if due else None

    def _stop(self) -> None:
        """Have fits leave a checkpoint, and end all else: what has not begun, and deliveries, which go on from the fine checkpoint."""
        self._stopping = True
        for seat in self._seats:
            begun = seat.running is not None and seat.running.begun is not None
            if seat.role == "fit" and begun and seat.child is not None:
                seat.child.halt()
            elif seat.child is not None:
                self._kill(seat)
                if seat.running is not None:
                    self._put_back(seat)
