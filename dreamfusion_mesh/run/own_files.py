"""The files that a run or a batch has of its own, which no report or picture may replace."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dreamfusion_mesh.files import is_file, shown
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.out import (
    AUDIT_FILE,
    BROKEN,
    CONTACT,
    GALLERY,
    INSPECTION,
    LOCK,
    MANIFEST,
    METRICS,
    METRICS_PICTURE,
    PREVIEW,
    PROVENANCE_FILE,
    RESULT_FILE,
    SUMMARY,
    TRACEBACK,
    TURNTABLE,
    VIDEO,
    WORK,
    WORKER_LOG,
    checkpoint_name,
)
from dreamfusion_mesh.run.result import read_record
from dreamfusion_mesh.run.settings import SETTINGS


def own_files(folders: Iterable[Path], target: Path) -> Iterator[tuple[Path, str]]:
    """The files of runs and batches in the folders, around them and around the target, each with what it is."""
    real = Path(os.path.realpath(target))
    around = [folder for folder in folders for folder in (folder, Path(os.path.realpath(folder)).parent)]
    for folder in dict.fromkeys((*around, real.parent, real.parent.parent)):
        for other in _run_files(RunFolder(folder)):
            yield other, f"is a file of the run in {shown(folder)}"
        for other in _batch_files(folder):
            yield other, f"is a file of the batch in {shown(folder)}"


def _run_files(run: RunFolder) -> list[Path]:
    """The files of a run, finished or not, but for its audit; none where the folder holds no run."""
    if not is_file(run.path / SETTINGS):
        return []
    listed = read_record(run).get("files")  # of a list that was edited by hand, too
    pictures = (PREVIEW, INSPECTION, TURNTABLE, VIDEO, METRICS_PICTURE)  # of a run that is not finished, perhaps of an earlier delivery
    own = (SETTINGS, METRICS, PROVENANCE_FILE, RESULT_FILE, LOCK, TRACEBACK, *pictures)
    names = [*own, *(map(str, listed) if isinstance(listed, dict) else ())]
    checkpoints = run.path.glob(checkpoint_name("*"))
    return [*(run.path / name for name in names if name != AUDIT_FILE), *checkpoints]


def _batch_files(folder: Path) -> list[Path]:
    """The files of a batch beside its runs; none where the folder holds no batch."""
    if not is_file(folder / MANIFEST) and not (folder / WORK).is_dir():
        return []
    names = (MANIFEST, BROKEN, SUMMARY, CONTACT, GALLERY, LOCK)
    return [*(folder / name for name in names), *(folder / WORK).glob(WORKER_LOG.format("*"))]
