"""How far a batch is, from its events; the clock is the test's."""

from __future__ import annotations

import pytest

from dreamfusion_mesh.batch.records import Event, Outcome
from dreamfusion_mesh.progress.tally import Tally, duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_counts_follow_the_events_and_a_retry_ends_no_job() -> None:
    tally = Tally(5)
    assert tally.left == 5
    tally.take(Event("planned", done=1, total=5))
    assert (tally.done, tally.failed, tally.left) == (0, 0, 4)
    tally.take(Event("started", "a"))
    tally.take(Event("started", "b"))
    tally.take(Event("done", "a", outcome=Outcome()))
    tally.take(Event("retry", "b", outcome=Outcome("diverged")))
    assert (tally.done, tally.failed, tally.left, list(tally.rows)) == (1, 0, 3, [])
    tally.take(Event("started", "b", 1))
    assert tally.rows["b"].attempt == 1
    tally.take(Event("failed", "b", 1, outcome=Outcome("diverged")))
    assert (tally.done, tally.failed, tally.left) == (1, 1, 2)
    assert tally.line().startswith("2 done, 1 failed, 2 left")


def test_a_row_shows_its_stage_and_then_its_delivery() -> None:
    tally = Tally(1)
    tally.take(Event("started", "a"))
    tally.take(Event("stage", "a", stage="coarse", done=3, total=12))
    assert (tally.rows["a"].stage, tally.rows["a"].done, tally.rows["a"].total) == ("coarse", 3, 12)
    tally.take(Event("fitted", "a"))
    assert (tally.rows["a"].stage, tally.rows["a"].total) == ("deliver", 0)


def test_the_time_left_follows_the_pace_of_the_last_jobs() -> None:
    clock = Clock()
    tally = Tally(1000, clock)
    tally.take(Event("planned", done=500, total=1000))
    assert tally.seconds_left() is None
    assert "about" not in tally.line()
    for number in range(100):  # slow ones, that are forgotten
        tally.take(Event("started", f"slow {number}"))
        clock.now += 60
        tally.take(Event("done", f"slow {number}"))
    for number in range(100):
        tally.take(Event("started", f"fast {number}"))
        clock.now += 3
        tally.take(Event("failed", f"fast {number}"))
    assert tally.seconds_left() == pytest.approx(300 * 3)
    assert tally.line() == "600 done, 100 failed, 300 left, about 15 min"
    clock.now += 64 * 3  # a job that takes longer than those before it is counted in while it runs
    assert tally.seconds_left() == pytest.approx(300 * 6)


def test_jobs_that_fail_without_any_work_tell_nothing_of_the_time_left() -> None:
    """As those do that failed before, or whose model is missing."""
    clock = Clock()
    tally = Tally(100, clock)
    for number in range(50):
        tally.take(Event("failed", f"before {number}"))
    assert tally.seconds_left() is None
    tally.take(Event("started", "a"))
    clock.now += 60
    tally.take(Event("done", "a"))
    assert tally.seconds_left() == pytest.approx(49 * 60)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (7384, "2 h 3 min"), (90000, "1 d 1 h")],
)
def test_durations_have_their_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
