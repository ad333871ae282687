"""A line of a batch's manifest: what was known of a job at one moment, as JSON that is not trusted when it is read."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import itemgetter
from typing import Literal, get_args

from dreamfusion_mesh.batch.names import LONGEST_NAME, check_name
from dreamfusion_mesh.batch.records import LARGEST_SEED, Attempt, Failure, Outcome
from dreamfusion_mesh.errors import BadInput

Status = Literal["started", "done", "failed"]
AUDITED = ("pass", "fail", "not measured")  # what a row of the audit has for its status
LONGEST_LINE = 1 << 20  # bytes, the newline included
MOST_ATTEMPTS = 1000  # at one job

_LONGEST_MESSAGE = 10_000  # characters
_LONGEST_KEY = 200
_LARGEST = 2**63 - 1
_STATUSES: dict[str, Status] = {status: status for status in get_args(Status)}  # read ones become these, which all entries share
_FAILURES: dict[str, Failure] = {failure: failure for failure in get_args(Failure)}
_PLAIN = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True, slots=True)
class Entry:
    """A job at one moment; its latest entry in the manifest holds.

    name, key, prompt, tags  of the job; see records.Job
    status                   started: an attempt at it was; done: its asset is in the batch's folder; failed: after its last attempt
    attempt, seed            the attempt that this is about
    steps                    of the coarse and the fine stage together, that the settings ask for
    failure, message, seconds, triangles, audit  see records.Outcome
    warnings                 how many there were for the user
    time                     when it was written, ISO 8601 in UTC, whole seconds
    """

    name: str
    key: str
    status: Status
    attempt: int
    seed: int
    prompt: str
    tags: tuple[str, ...]
    steps: int
    failure: Failure | None
    message: str
    seconds: float
    triangles: int | None
    audit: tuple[str, ...]
    warnings: int
    time: str


_values = itemgetter(*(field.name for field in fields(Entry)))


def make_entry(attempt: Attempt, status: Status, outcome: Outcome | None = None) -> Entry:
    """What the manifest is to say of an attempt now."""
    job, outcome = attempt.job, outcome or Outcome()
    settings = job.settings
    return Entry(
        name=job.name,
        key=job.key,
        status=status,
        attempt=attempt.number,
        seed=attempt.seed,
        prompt=job.prompt,
        tags=job.tags,
        steps=settings.coarse.steps + settings.fine.steps,
        failure=outcome.failure,
        message=outcome.message[:_LONGEST_MESSAGE],
        seconds=round(outcome.seconds, 3),
        triangles=outcome.triangles,
        audit=outcome.audit,
        warnings=len(outcome.warnings),
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def entry_line(entry: Entry) -> bytes:
    """The entry's line; half a surrogate pair, which UTF-8 does not have, becomes a question mark."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return (json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def line_reader() -> Callable[[bytes], Entry]:
    """A function from a line to its entry, which raises ValueError for one that `entry_line` would not write.

    Its entries share equal tags, steps and audits, so that a million of them fit in little memory.
    """
    decode = json.JSONDecoder().raw_decode
    known_tags, known_audits = _Shared(), _Shared(AUDITED)
    known_steps: dict[int, int] = {}

    def read(line: bytes) -> Entry:
        text = line.decode()
        try:
            values, end = decode(text)
            name, key, status, attempt, seed, prompt, tags, steps, *outcome, at = _values(values)
            failure, message, seconds, triangles, audit, warnings = outcome
            if not type(tags) is type(audit) is list:
                raise TypeError
            tags, audit = known_tags[tuple(tags)], known_audits[tuple(audit)]
        except (KeyError, TypeError, RecursionError):
            raise ValueError("is no entry") from None
        if not (
            end == len(text) - 1
            and len(values) == len(Entry.__slots__)
            and type(name) is type(key) is type(status) is type(prompt) is type(message) is type(at) is str
            and type(attempt) is type(seed) is type(steps) is type(warnings) is int
            and 0 <= attempt < MOST_ATTEMPTS
            and 0 <= seed <= LARGEST_SEED
            and 0 <= steps <= _LARGEST
            and 0 <= warnings <= _LARGEST
            and (triangles is None or (type(triangles) is int and 0 <= triangles <= _LARGEST))
            and type(seconds) in (int, float)
            and 0 <= seconds <= _LARGEST
            and 0 < len(key) <= _LONGEST_KEY
            and status in _STATUSES
            and (failure is None if status != "failed" else type(failure) is str and failure in _FAILURES)
            and _TIME.fullmatch(at)
            and _is_name(name)
        ):
            raise ValueError("is no entry")
        if "\\u" in text:  # an escape may stand for half a surrogate pair
            "".join((key, prompt, message, *tags)).encode()
        steps = known_steps.setdefault(steps, steps)
        status, failure = _STATUSES[status], None if failure is None else _FAILURES[failure]
        return Entry(name, key, status, attempt, seed, prompt, tags, steps, failure, message, seconds, triangles, audit, warnings, at)

    return read


def _is_name(text: str) -> bool:
    """Whether a job can have this name; those that are made of a prompt and a seed are seen at a glance."""
    if len(text) <= LONGEST_NAME and _PLAIN.fullmatch(text):
        return True
    try:
        return check_name(text) == text
    except BadInput:
        return False


class _Shared(dict[tuple[str, ...], tuple[str, ...]]):
    """Texts that were read before, for themselves. Raises TypeError for new ones that are no texts, or none of those allowed."""

    def __init__(self, allowed: Sequence[str] | None = None) -> None:
        self._allowed = allowed

    def __missing__(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(type(text) is str and (self._allowed is None or text in self._allowed) for text in texts):
            raise TypeError
        self[texts] = texts
        return texts
