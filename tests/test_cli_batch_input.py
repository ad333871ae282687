"""`batch` refuses tables and options that it cannot use: a clear line for each fault, exit code 2, nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended, caller, check_refused

from dreamfusion_mesh.batch import run as batch_run
from dreamfusion_mesh.batch.table import LARGEST_FILE

BATCH = ("batch", "a.csv", "--out", "out", "--preset", "smoke", "--device", "cpu")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process, in a folder with a table; it is to do no work."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("the work begins before the input is checked")

    monkeypatch.setattr(batch_run, "run_batch", refuse)
    (tmp_path / "a.csv").write_text("prompt\na red mug\n")
    return caller(monkeypatch, capfd, tmp_path)


@pytest.fixture
def here(command: Callable[..., Ended], tmp_path: Path) -> Path:
    return tmp_path


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


LONG = "a red mug " * 1000
BAD = {
    "empty": (b"", "a.csv: is empty; its first row names the columns"),
    "no row": (b"prompt\n", "a.csv: no row stands below the names of the columns"),
    "comments alone": (b"# a\n# b\n", "a.csv: is empty"),
    "binary": (bytes(range(256)), "a.csv, line 1: "),
    "a spreadsheet": (b"PK\x03\x04rest", "a.csv: is a spreadsheet's own file"),
    "UTF-16": ("prompt\na mug\n".encode("utf-16"), "a.csv: is UTF-16 text"),
    "Latin-1": (b"prompt\nt\xfcr\n", "a.csv, line 2: the byte 0xFC is not UTF-8 text"),
    "no prompt column": (b"text,name\na,b\n", "a.csv, line 1: no column is called prompt"),
    "a column twice": (b"prompt,seed,seed\na,1,2\n", "a.csv, line 1, seed: more than one column has this name"),
    "a column that is like one": (b"prompt,sead\na red mug,1\n", "a.csv, line 1, sead: unknown column; did you mean 'seed'?"),
    "a setting that is like one": (b"prompt,coarse.stpes\na red mug,1\n", "coarse.stpes: unknown column; did you mean 'coarse.steps'?"),
    "too many cells": (b"prompt,seed\na red mug,1,2\n", "a.csv, line 2, column 3: the first row names 2 columns (given '2')"),
    "a bad number": (b"prompt,seed\na red mug,x\n", "a.csv, line 2, seed: expected a whole number"),
    "a bad count": (b"prompt,count\na red mug,0\n", "a.csv, line 2, count: expected a whole number"),
    "a bad setting": (b"prompt,coarse.steps\na red mug,-1\n", "a.csv, line 2, coarse.steps: expected a whole number"),
    "a bad preset": (b"prompt,preset\na red mug,smok\n", "did you mean 'smoke'?"),
    "an empty prompt": (b"prompt,seed\n,1\n", "a.csv, line 2, prompt: is empty"),
    "a long prompt": (f"prompt\n{LONG}\n".encode(), "a.csv, line 2, prompt: "),
    "a control character": (b"prompt\na red \x07mug\n", "a.csv, line 2, prompt: has the control character U+0007"),
    "a name that climbs": (b"prompt,name\na red mug,../../x\n", "a.csv, line 2, name: has the character /"),
    "a name of the batch": (b"prompt,name\na red mug,summary.csv\n", "a.csv, line 2, name: is a name of the batch's own files"),
    "a hidden name": (b"prompt,name\na red mug,.work\n", "a.csv, line 2, name: a name begins with no dot"),
    "names alike": (b"prompt,name\na red mug,mug\na jug,mug\n", "a.csv, line 3, name: 'mug' is the name of line 2, too"),
    "names alike but for case": (b"prompt,name\na red mug,mug\na jug,MUG\n", "a.csv, line 3, name: 'MUG' and 'mug' of line 2 are alike"),
    "rows alike": (b"prompt\na red mug\na red mug\n", "a.csv, line 3, prompt: with its seed it makes the name"),
    "too many assets": (b"prompt,count\na red mug,1\na jug,1000000\n", "a batch makes at most 1000000"),
    "an open quote": (b'prompt\n"a red mug\n', "a.csv, line 2: a quoted cell begins and is never closed"),
}


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["", "dry run"])
@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_a_bad_table_is_one_line_and_nothing_is_written(
    content: bytes, message: str, more: list[str], command: Callable[..., Ended], here: Path
) -> None:
    (here / "a.csv").write_bytes(content)
    check_refused(command(*BATCH, *more), message)
    assert [file.name for file in here.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "a.csv: cannot be read (No such file or directory); check the path"),
        ("folder", "a.csv: is a folder; name a regular file"),
        ("pipe", "a.csv: is a pipe; name a regular file"),
        ("zeros", "a.csv, line 1: holds a NUL byte"),
        ("huge", f"a.csv: {2**30} bytes, more than the {LARGEST_FILE} that are read; split it"),
    ],
)
def test_what_is_no_table_is_one_line_and_nothing_is_written(kind: str, message: str, command: Callable[..., Ended], here: Path) -> None:
    path = here / "a.csv"
    path.unlink()
    make = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "zeros": lambda: sparse(path, 2**23),
        "huge": lambda: sparse(path, 2**30),
    }
    make.get(kind, lambda: None)()
    check_refused(command(*BATCH), message)
    assert not (here / "out").exists()


def test_every_fault_has_a_line_up_to_fifty(command: Callable[..., Ended], here: Path) -> None:
    (here / "a.csv").write_text("prompt,name\n" + "".join(f"a red mug,bad/{number}\n" for number in range(60)))
    ended = command(*BATCH)
    assert (ended.returncode, ended.stdout) == (2, "")
    lines = ended.stderr.splitlines()
    assert len(lines) == 51
    assert lines[49].startswith("error: a.csv, line 51, name: has the character /")
    assert lines[50] == "error: a.csv: and 10 more faults"
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--retries", "-1"], "Invalid value for '--retries'"),
        (["--workers", "0"], "Invalid value for '--workers'"),
        (["--time-limit", "nan"], "--time-limit nan: expected seconds above 0"),
        (["--time-limit", "0"], "--time-limit 0.0: expected seconds above 0"),
        (["--log", "xml"], "Invalid value for '--log'"),
        (["--preset", "smok"], "did you mean 'smoke'?"),
        (["--set", "coarse.stpes=3"], "coarse.stpes: unknown setting; did you mean 'steps'?"),
        (["--set", "coarse.steps=0"], "coarse.steps: expected a whole number"),
        (["--device", "tpu"], "device: expected one of auto, cpu, cuda"),
        (["--seed", "-1"], "seed: expected a whole number"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_one_line_and_nothing_is_written(more: list[str], message: str, command: Callable[..., Ended], here: Path) -> None:
    check_refused(command(*BATCH, *more), message)
    assert not (here / "out").exists()


def test_a_batch_without_a_folder_is_refused(command: Callable[..., Ended]) -> None:
    check_refused(command("batch", "a.csv"), "Missing option '--out'")
