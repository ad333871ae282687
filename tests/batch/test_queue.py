"""Which worker takes which attempt: each of them once, groups kept together, nobody idle while there is work."""

from __future__ import annotations

import pytest
from stub_batches import with_model
from stub_rows import SETTINGS, job

from dreamfusion_mesh.batch.queue import WINDOW, Queue, group_of
from dreamfusion_mesh.batch.records import Attempt

ONE, TWO, THREE = (with_model(model) for model in ("one", "two", "three"))


def attempts(count: int, *settings: object) -> list[Attempt]:
    """In turn of each of these settings."""
    return [Attempt(job(f"row-{number}", seed=number, settings=settings[number % len(settings)])) for number in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("kinds", [(ONE,), (ONE, TWO), (ONE, TWO, THREE)])
def test_each_attempt_is_taken_once(workers: int, kinds: tuple[object, ...]) -> None:
    given = attempts(200, *kinds)
    queue = Queue(given, workers)
    taken: list[Attempt] = []
    while found := [attempt for share in queue.shares if (attempt := queue.take(share)) is not None]:
        taken += found
        assert len(queue) == len(given) - len(taken)
    assert sorted(attempt.job.name for attempt in taken) == sorted(attempt.job.name for attempt in given)


def test_one_worker_goes_through_one_group_after_the_other_in_order() -> None:
    given = attempts(150, ONE, TWO)
    queue = Queue(given, 1)
    taken = [queue.take(queue.shares[0]) for _ in given]
    assert taken == [*given[::2], *given[1::2]]
    assert queue.take(queue.shares[0]) is None


def test_workers_begin_with_different_groups_and_stay() -> None:
    queue = Queue(attempts(100, ONE, TWO), 2)
    taken = [[queue.take(share) for share in queue.shares] for _ in range(50)]
    assert all([group_of(attempt.job.settings).model for attempt in row] == ["one", "two"] for row in taken)


def test_a_worker_without_work_takes_from_the_end_of_the_largest_share() -> None:
    given = attempts(4, ONE)
    queue = Queue(given, 2)
    assert queue.take(queue.shares[0]) == given[0]
    assert [queue.take(queue.shares[1]) for _ in range(3)] == [given[2], given[3], given[1]]


def test_words_are_told_once_a_window_and_again_to_a_new_process() -> None:
    queue = Queue(attempts(100, SETTINGS), 1)
    share = queue.shares[0]
    told = []
    for _ in range(100):
        queue.take(share)
        told.append(len(share.ahead()))
    assert told == [WINDOW - 1, *[0] * (WINDOW - 1), 100 - WINDOW - 1, *[0] * (100 - WINDOW - 1)]
    queue = Queue(attempts(10, SETTINGS), 1)
    queue.take(queue.shares[0])
    queue.shares[0].ahead()
    queue.shares[0].told = False
    assert [words.prompt for words in queue.shares[0].ahead()] == ["a red mug"] * 9


def test_what_is_put_back_comes_next() -> None:
    given = attempts(10, ONE, TWO)
    queue = Queue(given, 1)
    share = queue.shares[0]
    first = queue.take(share)
    assert first is not None
    queue.put_back(share, Attempt(first.job, 1))
    assert queue.take(share) == Attempt(first.job, 1)
    queue.put_back(share, given[1])  # of another group than the share's: before its own
    rest = [queue.take(share) for _ in range(len(queue))]
    assert rest == [*given[2::2], given[1], *given[1::2]]


def test_a_group_is_taken_away_whole() -> None:
    given = attempts(200, ONE, TWO)
    queue = Queue(given, 1)
    share = queue.shares[0]
    assert queue.take(share) == given[0]
    assert sorted(attempt.seed for attempt in queue.take_group(group_of(ONE))) == [*range(2, 200, 2)]
    assert len(queue) == 100
    assert queue.take(share) == given[1]
