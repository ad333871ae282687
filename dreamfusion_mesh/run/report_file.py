"""Whether an audit's report or picture may be written where the user asks: never over the model, its parts, or the files of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dreamfusion_mesh.audit.picture import is_audit_picture
from dreamfusion_mesh.audit.readers.model import SUFFIXES
from dreamfusion_mesh.audit.readers.references import referenced_files
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import check_target, is_file, open_file, read_text, shown
from dreamfusion_mesh.run.folder import METRICS, RunFolder
from dreamfusion_mesh.run.out import AUDIT_FILE, PROVENANCE_FILE, RESULT_FILE, checkpoint_name
from dreamfusion_mesh.run.result import read_record
from dreamfusion_mesh.run.settings import SETTINGS

_LONGEST_REPORT = 2**20  # bytes; a report has 6,000
_ANOTHER = "name another file"


def check_report(file: Path, target: Path, preset: str | None = None) -> None:
    """Raises BadInput where the report on `file` cannot be written at `target`, or would replace a file that is not a report.

    The model itself, what it refers to, other models, the file of the preset, and the files of a run but audit.json are named as such,
    however they are spelt: by another path, a symbolic or a hard link. Other files are replaced where they hold text, as a report does.
    """
    _check(file, target, preset, f"--json {shown(target)}", "report")
    if is_file(file) and is_file(target) and not _is_text(target):
        raise BadInput(f"--json {shown(target)}: is there already and holds data, not text, which the report would replace; {_ANOTHER}")


def check_picture(file: Path, target: Path, preset: str | None = None, report: Path | None = None) -> None:
    """`check_report` for a picture of the audit; of other files it replaces only such a picture, and never the `report`."""
    name = f"--picture {shown(target)}"
    _check(file, target, preset, name, "picture")
    if report is not None and (os.path.realpath(report) == os.path.realpath(target) or _is_same(report, target)):
        raise BadInput(f"{name}: is where --json puts the report; {_ANOTHER}")
    if is_file(file) and is_file(target) and not _is_picture(target):
        raise BadInput(f"{name}: is there already and is no picture of an audit, which this one would replace; {_ANOTHER}")


def _check(file: Path, target: Path, preset: str | None, name: str, what: str) -> None:
    check_target(target, name)
    if not is_file(file) or not is_file(target):  # the audit says what is wrong with `file`; a new target replaces nothing
        return
    found = os.stat(target)
    for other, kind in _not_reports(file, target, preset):
        if _is_at(other, found):
            raise BadInput(f"{name}: {kind}, which the {what} would replace; {_ANOTHER}")
    if Path(os.path.realpath(target)).suffix.lower() in (*SUFFIXES, ".mtl"):
        raise BadInput(f"{name}: is a model that is there already, which the {what} would replace; {_ANOTHER}")


def _is_same(one: Path, other: Path) -> bool:
    return is_file(one) and _is_at(other, os.stat(one))


def _is_picture(target: Path) -> bool:
    """Whether a file is a picture that an audit made; an empty one may be replaced, too."""
    with open_file(target) as descriptor:
        beginning = os.read(descriptor, 4096)
    return not beginning or is_audit_picture(beginning)


def _is_text(target: Path) -> bool:
    """Whether a file may be a report; a texture, a buffer or a checkpoint of whatever model is none."""
    try:
        return "\0" not in read_text(target, _LONGEST_REPORT)
    except BadInput:  # not text, too long, or not readable
        return False


def _not_reports(file: Path, target: Path, preset: str | None) -> Iterator[tuple[Path, str]]:
    yield file, "is the file that is audited"
    if preset is not None:
        yield Path(preset), "is the preset of this audit"
    for other in referenced_files(file):
        yield other, f"is a file that {shown(file)} refers to"
    real = Path(os.path.realpath(target))
    for folder in dict.fromkeys((file.parent, real.parent, real.parent.parent)):
        for other in _run_files(RunFolder(folder)):
            yield other, f"is a file of the run in {shown(folder)}"


def _is_at(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), found)
    except (OSError, ValueError):  # it is not there, or no path
        return False


def _run_files(run: RunFolder) -> list[Path]:
    """The files of a run, finished or not, but for its audit; none where the folder holds no run."""
    if not is_file(run.path / SETTINGS):
        return []
    listed = read_record(run).get("files")  # of a list that was edited by hand, too
    names = [SETTINGS, METRICS, PROVENANCE_FILE, RESULT_FILE, *(map(str, listed) if isinstance(listed, dict) else ())]
    checkpoints = run.path.glob(checkpoint_name("*"))
    return [*(run.path / name for name in names if name != AUDIT_FILE), *checkpoints]
