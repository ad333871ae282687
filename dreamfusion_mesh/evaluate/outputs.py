"""Where an evaluation's JSON and page may be written: not over the prompts, the judge, a batch's own files, or those of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dreamfusion_mesh.batch.folder import WORK
from dreamfusion_mesh.batch.manifest import BROKEN, MANIFEST
from dreamfusion_mesh.batch.summary import CONTACT, SUMMARY
from dreamfusion_mesh.evaluate.page import MARK
from dreamfusion_mesh.files import is_file, shown
from dreamfusion_mesh.run.report_file import check_evaluation


def check_outputs(report: Path | None, page: Path | None, runs: Sequence[Path], prompts: Path, judge: Path | None) -> None:
    """Raises BadInput where they cannot be written, or would replace what they must not. Writes nothing.

    judge  its folder, where it is not the embedded one
    """
    targets = [Path(os.path.realpath(target)) for target in (report, page) if target is not None]
    check_evaluation(report, page, [*_inputs(runs, prompts, judge), *_of_batches(runs, targets)], MARK)


def _inputs(runs: Sequence[Path], prompts: Path, judge: Path | None) -> Iterator[tuple[Path, str]]:
    yield prompts, "is the file of the prompts"
    for above, _, names in os.walk(judge) if judge is not None else ():
        for name in names:
            yield Path(above, name), "is a file of the judge"


def _of_batches(runs: Sequence[Path], targets: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The files of batches that are evaluated, that a run lies in, or that the targets would lie in."""
    around = [Path(os.path.realpath(folder)).parent for folder in runs]
    for folder in dict.fromkeys((*runs, *around, *(target.parent for target in targets))):
        if is_file(folder / MANIFEST) or (folder / WORK).is_dir():
            for name in (MANIFEST, BROKEN, SUMMARY, CONTACT):
                yield folder / name, f"is a file of the batch in {shown(folder)}"
