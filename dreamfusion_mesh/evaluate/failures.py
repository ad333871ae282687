"""What is wrong with runs beside how they look: those that failed, rows of the audit, parts and holes that the words do not ask for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dreamfusion_mesh.evaluate.records import Prompt, Run

_ON = re.compile(r"\bon\b", re.IGNORECASE)


@dataclass(frozen=True)
class Failures:
    """Of the runs of a group.

    kinds  how many failed, by the kind of failure
    rows   in how many assets a row of the audit failed, by the row's name
    """

    kinds: dict[str, int]
    rows: dict[str, int]


def failures_of(runs: Sequence[Run]) -> Failures:
    """Count them; the most frequent come first, and of those that are as frequent the first in the alphabet."""
    return Failures(_counted(run.failure for run in runs if run.failure), _counted(row for run in runs for row in failed_rows(run)))


def failed_rows(run: Run) -> list[str]:
    """Names of the audit's rows that failed; one that was not measured has not."""
    return [name for name, status in run.audit.items() if status == "fail"]


def asked_parts(prompt: Prompt) -> int:
    """Separate solids that the words ask for: one, and one more for each "on", where the prompt does not say."""
    return prompt.parts if prompt.parts is not None else 1 + len(_ON.findall(prompt.text))


def loose_parts(run: Run, prompt: Prompt) -> int | None:
    """Separate solids beyond those that the words ask for; None where they are not known. What hangs together counts as one."""
    return None if run.parts is None else max(0, run.parts - asked_parts(prompt))


def surplus_holes(run: Run, prompt: Prompt) -> int | None:
    """Holes through the solid beyond those that the words ask for; None where either number is not known."""
    return None if run.holes is None or prompt.holes is None else max(0, run.holes - prompt.holes)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda found: (-found[1], found[0])))
