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


def test_a_summary_that_cannot_be_written_fails_no_batch(command: Callable[..., Ended], here: Path) -> None:
    (here / "out" / "summary.csv").mkdir(parents=True)
    (here / "out" / ".work").mkdir()
    ended = command(*BATCH, "--quiet")
    assert ended.returncode == 0
    line = "summary.csv: is a folder; name a file; the assets are not touched by that; once it is mended: dreamfusion-mesh summary out"
    assert ended.stderr == f"warning: out/{line}\n"
    assert ended.stdout.startswith("2 done")


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


def test_a_summary_steers_no_terminal(command: Callable[..., Ended], here: Path) -> None:
    table(here, "fail-fit,bad")
    command(*BATCH)
    manifest = here / "out" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("ValueError: planted", r"\u001b]0;\u0007\n\u009b planted"))
    assert command("summary", "out").stdout.splitlines()[2] == r"  bad (error): \x1b]0;\x07 \x9b planted in the fit; see out/.work/bad"


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
