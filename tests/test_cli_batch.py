"""`batch` and `summary` as commands: exit codes, clear lines for bad input, nothing half-written. The rows are stubs."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended, caller, check_refused
from stub_rows import StubRows

from dreamfusion_mesh.batch import run as batch_run
from dreamfusion_mesh.batch.table import LARGEST_FILE
from dreamfusion_mesh.run import out as run_out
from dreamfusion_mesh.run.lock import locked

ROOT = Path(__file__).parents[1]
TABLE = "prompt,name,seed,tags\na red mug,mug,1,kitchen\na blue chair,chair,2,\n"
BATCH = ("batch", "a.csv", "--out", "out", "--preset", "smoke", "--device", "cpu")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process, in a folder with a table; its rows are stubs."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.csv").write_text(TABLE)
    monkeypatch.setattr(batch_run, "PipelineRows", lambda strict, encodings, workers: StubRows(tmp_path / "notes", strict=strict))
    return caller(monkeypatch, capfd, tmp_path / "here")


@pytest.fixture
def here(command: Callable[..., Ended], tmp_path: Path) -> Path:
    return tmp_path / "here"


def table(here: Path, *rows: str) -> None:
    (here / "a.csv").write_text("\n".join(["prompt,name", *rows]) + "\n")


def statuses(here: Path) -> dict[str, str]:
    with open(here / "out" / "summary.csv", encoding="utf-8-sig", newline="") as file:
        return {line["name"]: line["status"] for line in csv.DictReader(file)}


def test_a_batch_makes_its_assets_and_is_done_the_second_time(command: Callable[..., Ended], here: Path) -> None:
    ended = command(*BATCH)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "2 done (0 of them before), 0 failed, 0 left; see out/summary.csv and out/contact.png\n"
    assert "mug: started\n" in ended.stderr
    assert "2 done, 0 failed, 0 left" in ended.stderr
    assert (here / "out" / "mug" / "asset.glb").is_file()
    assert statuses(here) == {"chair": "done", "mug": "done"}
    again = command(*BATCH)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("2 done (2 of them before), 0 failed, 0 left")


def test_a_failed_row_is_a_warning_with_its_folder_and_exit_1(command: Callable[..., Ended], here: Path) -> None:
    table(here, "fail-fit,bad", "a red mug,mug")
    ended = command(*BATCH, "--quiet")
    assert ended.returncode == 1
    assert ended.stderr == "warning: bad: failed (error): ValueError: planted in the fit; see out/.work/bad\n"
    assert ended.stdout.startswith("1 done (0 of them before), 1 failed, 0 left")
    assert "planted in the fit" in (here / "out" / ".work" / "bad" / "traceback.txt").read_text()
    assert statuses(here) == {"bad": "failed", "mug": "done"}


def test_quality_failures_are_tried_again_and_told_when_no_seed_is_left(command: Callable[..., Ended], here: Path) -> None:
    table(here, "empty 2,vase")
    one = command(*BATCH, "--retries", "1", "--quiet")
    assert one.returncode == 1
    assert one.stderr.splitlines() == [
        "warning: vase: failed (empty): the field is empty; another seed is tried",
        "warning: vase: failed (empty): the field is empty; see out/.work/vase+1",
    ]
    same = command(*BATCH, "--retries", "1", "--quiet")
    assert same.returncode == 1
    assert same.stderr == "warning: vase: failed (empty): the field is empty (before; no retry is left); see out/.work/vase+1\n"
    more = command(*BATCH, "--retries", "2", "--quiet")
    assert (more.returncode, more.stderr) == (0, "")


def test_strict_makes_failed_rows_of_the_audit_failures_of_the_job(command: Callable[..., Ended], here: Path) -> None:
    table(here, "audit 2,mug")
    assert command(*BATCH).returncode == 0
    ended = command(*BATCH, "--strict", "--quiet")
    assert ended.returncode == 1
    assert ended.stderr == "warning: mug: failed (audit): audit: p: fail, p: fail (before; no retry is left); see out/mug\n"
    assert statuses(here) == {"mug": "failed"}
    assert (here / "out" / "mug" / "asset.glb").is_file()


def test_the_json_log_has_standard_output_for_itself(command: Callable[..., Ended], here: Path) -> None:
    table(here, "fail-delivery,bad", "a red mug,mug")
    ended = command(*BATCH, "--log", "json", "--quiet")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [lines[0]["event"], lines[1]["event"], lines[-1]["event"]] == ["begin", "planned", "end"]
    assert (lines[0]["schema"], lines[0]["jobs"], lines[0]["folder"]) == (1, 2, "out")
    assert {(line["name"], line["failure"]) for line in lines if line["event"] in ("done", "failed")} == {("bad", "error"), ("mug", None)}
    assert {key: lines[-1][key] for key in ("exit", "before", "done", "failed", "left")} == {
        "exit": ended.returncode,
        "before": 0,
        "done": 1,
        "failed": 1,
        "left": 0,
    }
    assert ended.returncode == 1


def test_a_summary_is_made_anew_at_any_time(command: Callable[..., Ended], here: Path) -> None:
    table(here, "a red mug,mug", *(f"fail-fit,bad-{number}" for number in range(7)))
    command(*BATCH)
    (here / "out" / "summary.csv").unlink()
    ended = command("summary", "out")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[:2] == ["8 assets: 7 failed, 1 done", "  failed: error       7"]
    assert lines[2] == "  bad-0 (error): ValueError: planted in the fit; see out/.work/bad-0"
    assert lines[7:] == ["  and 2 more", "Written to out:", "  out/summary.csv", "  out/contact.png"]
    assert statuses(here)["mug"] == "done"


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nowhere", "nowhere: cannot be read"),
        ("a.csv", "a.csv: cannot be read"),
        (".", ".: holds no batch; name a folder that `batch` wrote"),
    ],
)
def test_a_summary_of_what_is_no_batch_is_refused(folder: str, message: str, command: Callable[..., Ended], here: Path) -> None:
    check_refused(command("summary", folder), message)
    assert [file.name for file in here.iterdir()] == ["a.csv"]


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
    table(here, *(f"a red mug,bad/{number}" for number in range(60)))
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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("thesis.txt", b"x", "--out out: holds something else (thesis.txt), and no batch; name a new or empty folder"),
        ("run.yaml", b"prompt: x", "--out out: holds something else (run.yaml), and no batch"),
        ("manifest.jsonl", b"", "out/manifest.jsonl: is not a batch's, or its first line is broken"),
        ("manifest.jsonl", b"{\n", "out/manifest.jsonl: is not a batch's, or its first line is broken"),
        ("manifest.jsonl", b'{"files": []}\n', "out/manifest.jsonl: is not a batch's, or its first line is broken"),
        ("manifest.jsonl", b'{"schema": 7, "kind": "batch manifest"}\n', "out/manifest.jsonl: is of schema 7, this version reads up to 1"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["", "dry run"])
def test_a_folder_of_something_else_is_refused(
    name: str, content: bytes, message: str, more: list[str], command: Callable[..., Ended], here: Path
) -> None:
    (here / "out").mkdir()
    (here / "out" / name).write_bytes(content)
    check_refused(command(*BATCH, *more), message)
    assert [(file.name, file.read_bytes()) for file in (here / "out").iterdir()] == [(name, content)]


def test_a_second_batch_in_a_folder_is_refused(command: Callable[..., Ended], here: Path) -> None:
    with locked(here / "out"):
        check_refused(command(*BATCH), f"out: is in use by process {os.getpid()}")
    assert [file.name for file in here.iterdir()] == ["a.csv"]


def test_a_full_disk_is_refused_before_anything_is_written(
    command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    usage = run_out.shutil.disk_usage(here)._replace(free=1000)
    monkeypatch.setattr(run_out.shutil, "disk_usage", lambda path: usage)
    check_refused(command(*BATCH), "--out out: its disk has 0 MiB left")
    assert [file.name for file in here.iterdir()] == ["a.csv"]


def test_a_broken_line_is_a_warning_and_kept_aside(command: Callable[..., Ended], here: Path) -> None:
    command(*BATCH)
    manifest = here / "out" / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes() + b"broken\n" + manifest.read_bytes().splitlines(keepends=True)[-1])
    ended = command(*BATCH)
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1
    assert "is broken; kept in manifest.broken.jsonl" in ended.stderr
    assert (here / "out" / "manifest.broken.jsonl").read_bytes() == b"broken\n"


def test_checks_import_neither_torch_nor_pictures(here: Path) -> None:
    """So that a fault in the table is told at once."""
    heavy = {"torch", "diffusers", "transformers", "warp", "trimesh", "scipy", "PIL", "numpy"}
    code = f"import sys; sys.argv = ['dreamfusion-mesh', *{BATCH!r}, '--dry-run']\nfrom dreamfusion_mesh import cli\n"
    code += "try: cli.main()\nexcept SystemExit as ended: assert not ended.code\n"
    code += f"loaded = {heavy!r} & set(sys.modules)\nassert not loaded, loaded"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here, env=environment, timeout=60)
    assert result.returncode == 0, result.stderr
    assert [file.name for file in here.iterdir()] == ["a.csv"]
