"""The attempts that are still to be made, and which worker takes which: each stays with one loaded model and device while it can."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from dreamfusion_mesh.batch.messages import Words
from dreamfusion_mesh.batch.records import Attempt
from dreamfusion_mesh.config import RunConfig

WINDOW = 64  # attempts that a worker knows ahead


class Group(NamedTuple):
    """What a worker has to load for an attempt."""

    kind: str
    model: str
    loaded_with: tuple[object, ...]
    device: str


def group_of(settings: RunConfig) -> Group:
    """The group of an attempt with these settings."""
    guidance = settings.guidance
    return Group(guidance.loaded_kind, guidance.loaded_model, tuple(guidance.loaded_with.values()), settings.device)


@dataclass(eq=False)
class Share:
    """What one worker has taken from the queue: attempts of one group, whose words it is told ahead, once."""

    group: Group | None = None
    attempts: deque[Attempt] = field(default_factory=deque)
    told: bool = True

    def ahead(self) -> tuple[Words, ...]:
        """The words of the attempts to come, where they were not told yet."""
        if self.told:
            return ()
        self.told = True
        return tuple(Words(attempt.job.prompt, attempt.job.settings.guidance) for attempt in self.attempts)


class Queue:
    """All attempts in their order, by group, and the shares of `workers`."""

    def __init__(self, attempts: Iterable[Attempt], workers: int) -> None:
        self._groups: dict[Group, deque[Attempt]] = {}
        for attempt in attempts:
            self._groups.setdefault(group_of(attempt.job.settings), deque()).append(attempt)
        self.shares = [Share() for _ in range(workers)]

    def __len__(self) -> int:
        return sum(map(len, self._groups.values())) + sum(len(share.attempts) for share in self.shares)

    def take(self, share: Share) -> Attempt | None:
        """The next attempt of a worker; None where there are none. One without attempts takes from the end of the largest share."""
        if not share.attempts:
            self._claim(share)
        if share.attempts:
            return share.attempts.popleft()
        largest = max(self.shares, key=lambda other: len(other.attempts))
        if not largest.attempts:
            return None
        share.group = largest.group
        return largest.attempts.pop()

    def put_back(self, share: Share, attempt: Attempt) -> None:
        """Have `attempt` made next, by the worker that has made the one before, or that could not make this one."""
        if share.attempts and share.group != group_of(attempt.job.settings):
            self._groups.setdefault(group_of(attempt.job.settings), deque()).appendleft(attempt)
            return
        share.group = group_of(attempt.job.settings)
        share.attempts.appendleft(attempt)

    def take_group(self, group: Group) -> list[Attempt]:
        """Take away all attempts of a group."""
        taken = [*self._groups.pop(group, ())]
        for share in self.shares:
            if share.group == group:
                taken += share.attempts
                share.attempts.clear()
        return taken

    def _claim(self, share: Share) -> None:
        """Take a window of attempts, of the share's own group where that has some, else of one that the fewest workers are at."""
        group = share.group if share.group in self._groups else self._least_served()
        if group is None:
            return
        left = self._groups[group]
        count = min(WINDOW, -(-len(left) // len(self.shares)))
        share.group, share.told = group, False
        share.attempts.extend(left.popleft() for _ in range(count))
        if not left:
            del self._groups[group]

    def _least_served(self) -> Group | None:
        served = [share.group for share in self.shares]
        return min(self._groups, key=served.count, default=None)
