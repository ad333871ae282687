"""Means, errors and tests against numbers worked by hand."""

import tracemalloc

import pytest

from dreamfusion_mesh.evaluate import statistics
from dreamfusion_mesh.evaluate.statistics import EXACT_UP_TO, by_prompt, compare, mean_of


def test_seeds_of_a_prompt_are_averaged_first():
    found = by_prompt([("a mug", 1.0), ("a cake", 0.25), ("a mug", 0.0), ("a mug", 0.5)])
    assert list(found.items()) == [("a mug", 0.5), ("a cake", 0.25)]
    assert mean_of(list(found.values())).value == 0.375


def test_a_mean_and_its_standard_error_by_hand():
    """1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, s^2 = 7, error sqrt(7 / 3)."""
    found = mean_of([1.0, 2.0, 6.0])
    assert (found.value, found.count) == (3.0, 3)
    assert found.error == pytest.approx((7 / 3) ** 0.5, rel=1e-12)
    assert mean_of([0.5]).error is None
    assert mean_of([0.5, 0.5]).error == 0
    with pytest.raises(ValueError, match="at least one"):
        mean_of([])


def test_three_prompts_have_eight_sign_flips():
    """Differences 1, 2, 3: only all signs as they are, and all turned, lie as far from 0: p = 2 / 8. Interval: 2 +- 4.3027 sqrt(1 / 3)."""
    found = compare({"a": 1.0, "b": 2.0, "c": 0.0, "alone": 9.0}, {"c": 3.0, "b": 4.0, "a": 2.0, "other": 1.0})
    assert (found.difference, found.count, found.exact) == (2.0, 3, True)
    assert found.p == pytest.approx(0.25)
    assert found.high - 2 == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert found.low + found.high == pytest.approx(4)


def test_flips_that_undo_the_difference_count():
    """Differences 1, 1, -1, 1 have the mean 1 / 2; of 16 flips 2 + 8 lie as far from 0."""
    found = compare(dict.fromkeys("abcd", 0.0), {"a": 1.0, "b": 1.0, "c": -1.0, "d": 1.0})
    assert found.p == pytest.approx(10 / 16)


def test_no_difference_is_none_at_all():
    same = {"a": 0.2, "b": 0.7}
    found = compare(same, same)
    assert (found.difference, found.p, found.low, found.high) == (0, 1, 0, 0)
    alone = compare({"a": 0.0}, {"a": 1.0})
    assert (alone.difference, alone.p, alone.low, alone.high) == (1, 1, None, None)
    assert compare({"a": 1.0}, {"b": 1.0}) is None


def test_with_many_prompts_flips_are_drawn_from_the_seed():
    count = EXACT_UP_TO + 8
    first = {str(i): 0.0 for i in range(count)}
    second = {str(i): (0.3, -0.2, 0.1, -0.1, 0.15)[i % 5] for i in range(count)}
    found = compare(first, second, seed=3)
    assert not found.exact
    assert found == compare(first, second, seed=3)
    assert 0.1 < found.p < 0.5
    assert compare(first, second, seed=4).p == pytest.approx(found.p, abs=0.02)
    assert compare(first, {name: 1.0 for name in first}).p < 1e-4


def test_memory_does_not_grow_with_the_flips(monkeypatch):
    """1,024 flips of 2,000 prompts at once are two million values, of which scipy holds ten arrays."""
    monkeypatch.setattr(statistics, "EXACT_UP_TO", 10)
    names = [str(i) for i in range(2000)]
    tracemalloc.start()
    found = compare(dict.fromkeys(names, 0.0), {name: (1.0, -1.0)[at % 2] for at, name in enumerate(names)})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.p == 1
    assert most < 60e6
