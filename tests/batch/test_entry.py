"""A line of the manifest: what is written is read again, and nothing else is taken for an entry."""

from __future__ import annotations

import dataclasses
import json

import pytest
from batch_folders import done, make_job

from dreamfusion_mesh.batch.entry import LONGEST_LINE, MOST_ATTEMPTS, entry_line, line_reader, make_entry
from dreamfusion_mesh.batch.records import Attempt, Outcome, retry_seed


def test_an_entry_says_what_is_known_of_the_attempt() -> None:
    attempt = Attempt(make_job("mug", seed=7, steps=30), 2)
    outcome = Outcome("diverged", "no guidance", 1.23456, None, ("pass", "fail"), ("one", "two"))
    entry = make_entry(attempt, "failed", outcome)
    assert (entry.name, entry.key, entry.prompt, entry.attempt) == ("mug", attempt.job.key, "a red mug", 2)
    assert entry.seed == retry_seed(7, 2)
    assert entry.steps == 30 + attempt.job.settings.fine.steps
    assert (entry.failure, entry.message, entry.seconds) == ("diverged", "no guidance", 1.235)
    assert (entry.triangles, entry.audit, entry.warnings) == (None, ("pass", "fail"), 2)
    assert line_reader()(entry_line(entry)) == entry


def test_half_a_surrogate_pair_in_a_message_keeps_no_entry_from_being_written() -> None:
    attempt = Attempt(make_job())
    entry = line_reader()(entry_line(make_entry(attempt, "failed", Outcome("error", "no file a\udcff.png"))))
    assert entry.message == "no file a?.png"


def test_a_long_message_is_cut_so_that_its_line_can_be_read() -> None:
    entry = make_entry(Attempt(make_job(prompt="漢" * 10_000)), "failed", Outcome("error", "\0" * 10**7))
    assert len(entry_line(entry)) < LONGEST_LINE
    assert line_reader()(entry_line(entry)) == entry


FAULTS = {
    "name": ["", ".", "..", "../up", "a/b", "a\\b", ".hidden", "-x", "a+1", "a\0", "a\n", "x" * 101, "é" * 51, "\ud800", 5, None, ["a"]],
    "key": ["", 5, None, "x" * 300],
    "status": ["", "Done", None, ["done"], {}],
    "attempt": [-1, MOST_ATTEMPTS, 1.0, True, "0", None],
    "seed": [-1, 2**63, 1e3, False, None],
    "prompt": [None, 5, "\ud83d"],
    "tags": [None, "ab", {}, [1], [["a"]], ["\udc00"]],
    "steps": [-1, 1.5, None, True],
    "failure": ["", "other", "audit", 5, ["error"], {}],
    "message": [None, 5],
    "seconds": [-1, "1", None, True, float("nan"), float("inf")],
    "triangles": [-1, 1.0, "1", True],
    "audit": [None, "", ["passed"], [1], [["pass"]], "pass"],
    "warnings": [-1, None, []],
    "time": ["", "yesterday", None, "2026-11-27T18:20:25+01:00"],
}


@pytest.mark.parametrize("field", FAULTS)
def test_a_line_with_a_wrong_value_is_broken(field: str) -> None:
    read, good = line_reader(), done(Attempt(make_job()))
    values = dataclasses.asdict(dataclasses.replace(good, tags=("a", "b")))
    assert read((json.dumps(values) + "\n").encode()).tags == ("a", "b")
    for wrong in FAULTS[field]:
        with pytest.raises(ValueError, match=r"entry|surrogates"):
            read((json.dumps(values | {field: wrong}) + "\n").encode())
    with pytest.raises(ValueError, match="entry"):
        read((json.dumps({key: value for key, value in values.items() if key != field}) + "\n").encode())
