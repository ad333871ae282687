"""Where an evaluation's JSON and page may be written: not over the prompts, the judge, a batch's own files, or those of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dreamfusion_mesh.evaluate.page import MARK
from dreamfusion_mesh.run.report_file import check_evaluation


def check_outputs(report: Path | None, page: Path | None, runs: Sequence[Path], prompts: Path, judge: Path | None) -> None:
    """Raises BadInput where they cannot be written, or would replace what they must not. Writes nothing.

    judge  its folder, where it is not the embedded one
    """
    check_evaluation(report, page, list(_inputs(prompts, judge)), runs, MARK)


def _inputs(prompts: Path, judge: Path | None) -> Iterator[tuple[Path, str]]:
    yield prompts, "is the file of the prompts"
    for above, _, names in os.walk(judge) if judge is not None else ():
        for name in names:
            yield Path(above, name), "is a file of the judge"
