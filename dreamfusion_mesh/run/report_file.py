"""Whether a report or a picture may be written where the user asks: never over what it is about, or over the files of a run or a batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dreamfusion_mesh.audit.picture import is_audit_picture
from dreamfusion_mesh.audit.readers.model import SUFFIXES
from dreamfusion_mesh.audit.readers.references import referenced_files
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import check_target, is_file, open_file, read_text, shown
from dreamfusion_mesh.run.own_files import own_files

_LONGEST_REPORT = 2**20  # bytes; an audit's has 6,000
_LONGEST_EVALUATION = 2**30  # one of a run has 2,000
_ANOTHER = "name another file"
_DATA = "is there already and holds data, not text, which the report would replace"


def check_report(file: Path, target: Path, preset: str | None = None) -> None:
    """Raises BadInput where the report on `file` cannot be written at `target`, or would replace a file that is not a report.

    The model itself, what it refers to, other models, the file of the preset, the files of a run but audit.json, and those of a batch are
    named as such, however they are spelt: by another path, a symbolic or a hard link. Other files are replaced where they hold text, as a
    report does.
    """
    name = f"--json {shown(target)}"
    _check_audit(file, target, preset, name, "report")
    if is_file(file) and is_file(target) and not _is_text(target, _LONGEST_REPORT):
        raise BadInput(f"{name}: {_DATA}; {_ANOTHER}")


def check_picture(file: Path, target: Path, preset: str | None = None, report: Path | None = None) -> None:
    """`check_report` for a picture of the audit; of other files it replaces only such a picture, and never the `report`."""
    name = f"--picture {shown(target)}"
    _check_audit(file, target, preset, name, "picture")
    if report is not None:
        _check_apart(report, target, name)
    if is_file(file) and is_file(target) and not _is_picture(target):
        raise BadInput(f"{name}: is there already and is no picture of an audit, which this one would replace; {_ANOTHER}")


def check_evaluation(report: Path | None, page: Path | None, inputs: Sequence[tuple[Path, str]], runs: Sequence[Path], mark: bytes) -> None:
    """`check_report` for the JSON of an evaluation, and for its page.

    inputs  files that are read, each with what it is, such as "is the file of the prompts"
    runs    folders of runs and batches that are read
    mark    how a page of an evaluation begins; of other files that are there, a page replaces none
    """
    for target, option, what in ((report, "--json", "report"), (page, "--report", "page")):
        if target is not None:
            name = f"{option} {shown(target)}"
            check_target(target, name)
            _check_replaced(target, name, what, (*inputs, *own_files(runs, target)))
    if report is not None and is_file(report) and not _is_text(report, _LONGEST_EVALUATION):
        raise BadInput(f"--json {shown(report)}: {_DATA}; {_ANOTHER}")
    if page is not None and is_file(page) and not _begins(page, mark):
        raise BadInput(f"--report {shown(page)}: is there already and is no evaluation's page, which this one would replace; {_ANOTHER}")
    if report is not None and page is not None:
        _check_apart(report, page, f"--report {shown(page)}")


def _check_audit(file: Path, target: Path, preset: str | None, name: str, what: str) -> None:
    check_target(target, name)
    if is_file(file):  # the audit says what is wrong with it else
        _check_replaced(target, name, what, _not_reports(file, target, preset))


def _check_replaced(target: Path, name: str, what: str, others: Iterable[tuple[Path, str]]) -> None:
    """Raises BadInput where the target is one of the others, or a model; a new one replaces nothing."""
    if not is_file(target):
        return
    found = os.stat(target)
    for other, kind in others:
        if _is_at(other, found):
            raise BadInput(f"{name}: {kind}, which the {what} would replace; {_ANOTHER}")
    if Path(os.path.realpath(target)).suffix.lower() in (*SUFFIXES, ".mtl"):
        raise BadInput(f"{name}: is a model that is there already, which the {what} would replace; {_ANOTHER}")


def _check_apart(report: Path, target: Path, name: str) -> None:
    same = os.path.realpath(report) == os.path.realpath(target) or (is_file(report) and _is_at(target, os.stat(report)))
    if same:
        raise BadInput(f"{name}: is where --json puts the report; {_ANOTHER}")


def _begins(target: Path, mark: bytes) -> bool:
    """Whether a file begins with `mark`; an empty one may be replaced, too."""
    with open_file(target) as descriptor:
        return os.read(descriptor, len(mark)) in (b"", mark)


def _is_picture(target: Path) -> bool:
    """Whether a file is a picture that an audit made; an empty one may be replaced, too."""
    with open_file(target) as descriptor:
        beginning = os.read(descriptor, 4096)
    return not beginning or is_audit_picture(beginning)


def _is_text(target: Path, limit: int) -> bool:
    """Whether a file may be a report; a texture, a buffer or a checkpoint of whatever model is none."""
    try:
        return "\0" not in read_text(target, limit)
    except BadInput:  # not text, too long, or not readable
        return False


def _not_reports(file: Path, target: Path, preset: str | None) -> Iterator[tuple[Path, str]]:
    yield file, "is the file that is audited"
    if preset is not None:
        yield Path(preset), "is the preset of this audit"
    for other in referenced_files(file):
        yield other, f"is a file that {shown(file)} refers to"
    yield from own_files((file.parent,), target)


def _is_at(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), found)
    except (OSError, ValueError):  # it is not there, or no path
        return False
