"""Means over prompts with their standard errors, and paired comparisons of two settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

EXACT_UP_TO = 16  # prompts; with more, so many sign flips are drawn as this many prompts have
_CONFIDENCE = 0.95
_SIGNS_AT_ONCE = 2**18  # values that are flipped together: all flips of 1,000 prompts would take 4 GB


@dataclass(frozen=True)
class Mean:
    """A mean over prompts. error: its standard error; None for a single prompt."""

    value: float
    error: float | None
    count: int


@dataclass(frozen=True)
class Comparison:
    """A setting against another over the prompts that both have.

    difference  mean over prompts of the second minus the first
    low, high   95 % confidence interval of the difference by Student's t; None for a single prompt
    p           two-sided, of the paired permutation test
    count       prompts compared
    exact       the test went through all sign flips
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    count: int
    exact: bool


def by_prompt(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of each prompt's values, such as those of its seeds, in the order in which prompts first occur."""
    found: dict[str, list[float]] = {}
    for prompt, value in values:
        found.setdefault(prompt, []).append(value)
    return {prompt: float(np.mean(each)) for prompt, each in found.items()}


def mean_of(values: Sequence[float]) -> Mean:
    """The mean over prompts, and s / sqrt(n) with s the sample's standard deviation. Raises ValueError where there are no values."""
    if not values:
        raise ValueError("values: none, expected at least one prompt's")
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Mean(float(np.mean(values)), error, len(values))


def compare(first: Mapping[str, float], second: Mapping[str, float], seed: int = 0) -> Comparison | None:
    """How a setting's values by prompt differ from the first one's; None where no prompt is in both.

    p is the share of sign flips of the prompts' differences whose mean is at least as far from 0: all of them up to EXACT_UP_TO prompts,
    else 2^EXACT_UP_TO drawn with `seed`. Source: Good, "Permutation, Parametric, and Bootstrap Tests of Hypotheses", 2005, section 3.2,
    through scipy.stats.permutation_test.
    """
    from scipy.stats import t

    shared = [prompt for prompt in first if prompt in second]
    if not shared:
        return None
    change = np.array([second[prompt] - first[prompt] for prompt in shared])
    count, difference = len(change), float(change.mean())
    p = _sign_flip_p(change, seed)
    error = mean_of(change.tolist()).error
    reach = None if error is None else float(t.ppf((1 + _CONFIDENCE) / 2, count - 1)) * error
    low, high = (None, None) if reach is None else (difference - reach, difference + reach)
    return Comparison(difference, low, high, p, count, count <= EXACT_UP_TO)


def _sign_flip_p(change: np.ndarray, seed: int) -> float:
    from scipy.stats import permutation_test

    if len(change) == 1:
        return 1.0  # either sign is as far from 0
    draws, batch = np.random.default_rng(seed), max(1, _SIGNS_AT_ONCE // len(change))
    found = permutation_test(
        (change,),
        _distance,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**EXACT_UP_TO,
        batch=batch,
        alternative="greater",
        rng=draws,
    )
    return float(found.pvalue)


def _distance(change: np.ndarray, axis: int) -> np.ndarray:
    """Of the mean from 0. scipy's own two-sided p is twice the smaller tail, and of drawn flips below 1 for a difference of 0."""
    return np.abs(change.mean(axis=axis))
