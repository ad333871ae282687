"""The measures of an evaluation: what each run has of them, and how they are named and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dreamfusion_mesh.evaluate.failures import failed_rows, loose_parts, surplus_holes
from dreamfusion_mesh.evaluate.records import Prompt, Run, Scores
from dreamfusion_mesh.evaluate.statistics import Comparison, Mean

JANUS_SECTORS = 2  # separate sectors of azimuths that look like a front, from which on an asset has too many


@dataclass(frozen=True, eq=False)
class Judged:
    """A run, its prompt, and what the judge says of it; picture: PNG of four of its pictures. Both are None where the run failed."""

    run: Run
    prompt: Prompt
    scores: Scores | None = None
    picture: bytes | None = None


@dataclass(frozen=True)
class Measure:
    """A number that runs have.

    name    in JSON
    title   for people, and `short` over a column
    unit    share: from 0 to 1, written in per cent; cosine; seconds
    better  which way it gets better
    of      of a run; None where it does not count. Of diversity, which prompts have and not runs, always
    """

    name: str
    title: str
    short: str
    unit: Literal["share", "cosine", "seconds"]
    better: Literal["higher", "lower"]
    of: Callable[[Judged], float | None]


def _precision(name: str) -> Callable[[Judged], float]:
    return lambda judged: 0.0 if judged.scores is None else getattr(judged.scores, name)


def _score(name: str) -> Callable[[Judged], float | None]:
    return lambda judged: None if judged.scores is None else getattr(judged.scores, name)


def _janus(judged: Judged) -> float | None:
    sectors = None if judged.scores is None else judged.scores.front_sectors
    return None if sectors is None else float(sectors >= JANUS_SECTORS)


def _failed(judged: Judged) -> float:
    return float(judged.run.failure is not None)


def _audit(judged: Judged) -> float | None:
    return float(bool(failed_rows(judged.run))) if judged.run.failure is None else None


def _parts(judged: Judged) -> float | None:
    return _any(loose_parts(judged.run, judged.prompt))


def _holes(judged: Judged) -> float | None:
    return _any(surplus_holes(judged.run, judged.prompt))


def _any(count: int | None) -> float | None:
    return None if count is None else float(count > 0)


def _seconds(judged: Judged) -> float | None:
    return judged.run.seconds.get("all") if judged.run.failure is None else None


DIVERSITY = Measure("diversity", "distance between seeds of a prompt", "diversity", "cosine", "higher", lambda judged: None)
MEASURES = (
    Measure("quality", "mean of those of the next three shares that are known", "quality", "share", "higher", _precision("quality")),
    Measure("colour", "R-Precision, in colour", "colour", "share", "higher", _precision("colour")),
    Measure("textureless", "R-Precision, textureless", "textureless", "share", "higher", _precision("textureless")),
    Measure("views", "azimuths whose view is named", "views", "share", "higher", _score("views")),
    Measure("janus", "more than one front (Janus)", "Janus", "share", "lower", _janus),
    Measure("failed", "failed runs", "failed", "share", "lower", _failed),
    Measure("audit", "assets with a failed row of the audit", "audit", "share", "lower", _audit),
    Measure("parts", "assets with loose parts", "loose parts", "share", "lower", _parts),
    Measure("holes", "assets with surplus holes", "holes", "share", "lower", _holes),
    Measure("fit", "cosine with the own prompt, in colour", "fit", "cosine", "higher", _score("fit")),
    Measure("clay_fit", "cosine with the own prompt, textureless", "clay fit", "cosine", "higher", _score("clay_fit")),
    DIVERSITY,
    Measure("seconds", "seconds an asset", "seconds", "seconds", "lower", _seconds),
)
BY_NAME = {measure.name: measure for measure in MEASURES}


def mean_text(mean: Mean | None, measure: Measure) -> str:
    """A mean and its standard error: 53.3 ± 12.9; a dash where there is none."""
    if mean is None:
        return "-"
    return write(mean.value, measure) + ("" if mean.error is None else f" ± {write(mean.error, measure)}")


def difference_text(compared: Comparison | None, measure: Measure) -> str:
    """A difference and the probability of one as large by chance: +6.7, p 0.031; a dash where there is none."""
    return "-" if compared is None else f"{write(compared.difference, measure, signed=True)}, p {compared.p:.3f}"


def write(value: float, measure: Measure, signed: bool = False) -> str:
    """A value as people read it: 53.3 (per cent), 0.231, 184."""
    number, digits = {"share": (100 * value, 1), "cosine": (value, 3), "seconds": (value, 0)}[measure.unit]
    rounded = round(number, digits) + 0.0  # of what rounds to nothing, -0.0 becomes 0.0
    return f"{rounded:{'+' if signed else ''}.{digits}f}"
