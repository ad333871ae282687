"""summary.csv and contact.png say what the manifest and the jobs' folders say, whenever they are asked."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.batch.entry import Entry, make_entry
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import Manifest
from dreamfusion_mesh.batch.records import Attempt, Job, Outcome
from dreamfusion_mesh.batch.summary import AUDIT_COLUMNS, COLUMNS, is_current, write_summary
from dreamfusion_mesh.config import dump, load_config
from dreamfusion_mesh.errors import BadInput

SETTINGS = load_config("smoke")
PASSED = ("pass",) * 15


def attempt(name: str, number: int = 0, prompt: str = "a red mug", tags: tuple[str, ...] = ()) -> Attempt:
    return Attempt(Job(name, prompt, 7, SETTINGS, "key", tags), number)


def done(name: str, **more: object) -> Entry:
    return make_entry(attempt(name, **more), "done", Outcome(seconds=12.5, triangles=990, audit=PASSED))


def failed(name: str, kind: str, number: int = 0) -> Entry:
    return make_entry(attempt(name, number), "failed", Outcome(kind, f"{kind}, it said", 3.0))


def asset(folder: Path, name: str, status: str = "pass", triangles: int = 1000) -> None:
    """A finished run, as far as the summary looks into it."""
    (folder / name).mkdir(parents=True)
    (folder / name / "result.json").write_text(json.dumps({"warnings": []}))
    (folder / name / "run.yaml").write_text(dump(SETTINGS.model_copy(update={"prompt": "from the folder", "seed": 5})))
    (folder / name / "provenance.json").write_text(json.dumps({"seconds": {"coarse": 8, "write": 1.5}}))
    rows = [{"number": number, "property": "p", "status": status, "measured": {}} for number in PROPERTIES]
    rows[2]["measured"] = {"triangles": triangles}
    (folder / name / "audit.json").write_text(json.dumps({"rows": rows}))
    Image.new("RGB", (64, 64)).save(folder / name / "preview.png")


def summed_up(path: Path, *entries: Entry) -> dict[str, dict[str, str]]:
    """The lines of summary.csv by name, in their order."""
    if entries:
        Manifest(path / "manifest.jsonl").append(entries)
    write_summary(BatchFolder(path))
    with open(path / "summary.csv", encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert all(set(line) == set(COLUMNS) for line in lines)
    return {line["name"]: line for line in lines}


def test_a_done_job_has_what_its_files_say_now(tmp_path: Path) -> None:
    """And not what the manifest said then: an export may have changed them."""
    asset(tmp_path, "mug", triangles=500)
    line = summed_up(tmp_path, done("mug", prompt="a red mug, =cmd()", tags=("kitchen", "red")))["mug"]
    assert line == {
        "name": "mug",
        "prompt": "a red mug, =cmd()",
        "status": "done",
        "seconds": "12.5",
        "triangles": "500",
        **dict.fromkeys(AUDIT_COLUMNS, "pass"),
        "seed": "7",
        "attempt": "0",
        "failure": "",
        "message": "",
        "tags": "kitchen red",
        "folder": "mug",
    }
    assert "audit_valid_gltf" in line
    assert "audit_mip_safe_gaps" in line


def test_each_status_has_its_folder_and_its_picture(tmp_path: Path) -> None:
    for name in ("good", "strict", "old"):
        asset(tmp_path, name, status="fail" if name == "strict" else "pass")
    asset(tmp_path / ".work", "half")
    (tmp_path / ".work" / "bad+2").mkdir()
    (tmp_path / ".work" / "old").mkdir()
    entries = [done("good"), done("gone"), failed("strict", "audit"), failed("bad", "diverged", 2), failed("old", "error")]
    lines = summed_up(tmp_path, *entries, make_entry(attempt("half"), "started"), make_entry(attempt("cut"), "started"))
    assert [(name, line["status"], line["failure"], line["folder"]) for name, line in lines.items()] == [
        ("bad", "failed", "diverged", ".work/bad+2"),
        ("cut", "unfinished", "", ""),
        ("gone", "missing", "", ""),
        ("good", "done", "", "good"),
        ("half", "unfinished", "", ".work/half"),
        ("old", "failed", "error", ".work/old"),
        ("strict", "failed", "audit", "strict"),
    ]
    assert lines["old"]["audit_budget"] == lines["old"]["triangles"] == ""  # of the run that is to be replaced
    assert (lines["strict"]["audit_budget"], lines["strict"]["seed"]) == ("fail", "5")  # of the best attempt
    assert lines["bad"]["message"] == "diverged, it said"


def test_folders_that_the_manifest_does_not_name_are_there(tmp_path: Path) -> None:
    asset(tmp_path, "keg")
    asset(tmp_path, "mug")
    lines = summed_up(tmp_path, make_entry(attempt("mug"), "started"))  # killed after the rename, before it could be written down
    assert [(name, line["status"], line["prompt"], line["seed"], line["triangles"]) for name, line in lines.items()] == [
        ("keg", "done", "from the folder", "5", "1000"),
        ("mug", "done", "a red mug", "7", "1000"),
    ]
    assert (lines["keg"]["seconds"], lines["keg"]["attempt"]) == ("9.5", "")


def test_the_latest_entry_counts_and_numbers_in_names_sort_by_value(tmp_path: Path) -> None:
    for name in ("mug-10", "mug-2", "Keg", "apple"):
        asset(tmp_path, name)
    lines = summed_up(tmp_path, failed("mug-2", "error"), *(done(name) for name in ("mug-10", "mug-2", "Keg", "apple")))
    assert list(lines) == ["apple", "Keg", "mug-2", "mug-10"]
    assert {line["status"] for line in lines.values()} == {"done"}


def test_it_is_the_same_again_and_follows_what_is_deleted(tmp_path: Path) -> None:
    asset(tmp_path, "mug")
    before = summed_up(tmp_path, done("mug"))
    assert summed_up(tmp_path) == before
    shutil.rmtree(tmp_path / "mug")
    assert summed_up(tmp_path)["mug"]["status"] == "missing"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b'{"rows": 3}', b'{"rows": [3, {"number": [1]}, {"number": 3, "measured": 4}]}', b"[" * 9000]
)
def test_where_a_record_is_broken_the_manifest_tells(content: bytes, tmp_path: Path) -> None:
    asset(tmp_path, "mug", status="fail")
    (tmp_path / "mug" / "audit.json").write_bytes(content)
    line = summed_up(tmp_path, done("mug"))["mug"]
    assert (line["status"], line["audit_uvs"], line["triangles"]) == ("done", "pass", "990")


def test_it_is_current_until_something_is_recorded_or_a_file_is_gone(tmp_path: Path) -> None:
    folder, manifest = BatchFolder(tmp_path), Manifest(tmp_path / "manifest.jsonl")
    assert not is_current(folder)
    asset(tmp_path, "mug")
    manifest.append([done("mug")])
    assert not is_current(folder)
    write_summary(folder)
    assert is_current(folder)
    (tmp_path / "contact.png").unlink()
    assert not is_current(folder)
    write_summary(folder)
    manifest.append([done("mug")])
    later = (tmp_path / "contact.png").stat().st_mtime_ns + 1  # clocks of file systems are coarse
    os.utime(manifest.path, ns=(later, later))
    assert not is_current(folder)


def test_counts_and_first_failures_are_told(tmp_path: Path) -> None:
    asset(tmp_path, "mug")
    Manifest(tmp_path / "manifest.jsonl").append(
        [done("mug"), *(failed(f"bad-{number}", "diverged", 1) for number in range(9)), failed("x", "crashed")]
    )
    (tmp_path / ".work" / "bad-0+1").mkdir(parents=True)
    found = write_summary(BatchFolder(tmp_path))
    assert (found.counts, found.kinds) == ({"done": 1, "failed": 10}, {"diverged": 9, "crashed": 1})
    assert [job.name for job in found.first] == [f"bad-{number}" for number in range(5)]
    assert [(job.kind, job.message) for job in found.first] == [("diverged", "diverged, it said")] * 5
    assert [job.folder for job in found.first] == [tmp_path / ".work" / "bad-0+1", *[None] * 4]


def test_the_contact_sheet_has_a_tile_for_each_job(tmp_path: Path) -> None:
    asset(tmp_path, "mug")
    summed_up(tmp_path, done("mug"), failed("bad", "error"))
    with Image.open(tmp_path / "contact.png") as sheet:
        assert sheet.size == (2 * 196 + 4, 212 + 4)


@pytest.mark.parametrize("there", ["nothing", "no folder", "other files"])
def test_what_is_no_batch_is_refused_and_nothing_is_written(there: str, tmp_path: Path) -> None:
    if there == "other files":
        (tmp_path / "thesis.txt").write_text("x")
    path = tmp_path / "nowhere" if there == "no folder" else tmp_path
    with pytest.raises(BadInput, match="nowhere" if there == "no folder" else "holds no batch"):
        write_summary(BatchFolder(path))
    assert [file.name for file in tmp_path.iterdir()] == (["thesis.txt"] if there == "other files" else [])
