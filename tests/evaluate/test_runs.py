"""Which runs an evaluation is of: what folders of runs and batches hold, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from evaluated_runs import PROMPTS, done, failed, make_batch, make_run, started

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.runs import read_groups

RED, GREEN, BLUE = PROMPTS


def refusal(*paths: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_groups(paths)
    (line,) = caught.value.lines
    return line


def test_a_batch_is_a_group_of_what_is_done_and_what_failed(tmp_path: Path) -> None:
    rows = (done("mug-10", RED, 3), done("mug-2", GREEN), failed("keg", BLUE), started("jar", BLUE))
    (group,) = read_groups([make_batch(tmp_path / "base", *rows)])
    assert (group.name, group.unfinished) == ("base", ("jar",))
    assert [(run.name, run.prompt, run.seed, run.failure) for run in group.runs] == [
        ("keg", BLUE, 0, "empty"),
        ("mug-2", GREEN, 0, None),
        ("mug-10", RED, 3, None),
    ]
    assert {run.group for run in group.runs} == {"base"}
    assert group.runs[0].message == "the field is empty"
    assert (group.runs[0].seconds, group.runs[1].seconds) == ({"all": 5.0}, {"coarse": 8.0, "audit": 2.0, "all": 10.0})


def test_an_asset_that_failed_its_audit_is_there_to_be_judged(tmp_path: Path) -> None:
    batch = make_batch(tmp_path / "strict", failed("mug", RED, "audit", "audit: LODs: fail"))
    make_run(batch / "mug", audit={11: "fail"})
    (run,) = read_groups([batch])[0].runs
    assert (run.failure, run.folder, run.audit["LODs"], run.audit["PBR"]) == (None, batch / "mug", "fail", "pass")


def test_figures_come_from_the_records(tmp_path: Path) -> None:
    measured = {"shells": 4, "cavities": 1, "holes through it": 2}
    folder = make_run(tmp_path / "out" / "mug", measured=measured, memory={"resident": 2**30, "card": 2**20})
    (group,) = read_groups([folder])
    (run,) = group.runs
    assert (group.name, run.name, run.parts, run.holes) == ("out", "mug", 3, 2)
    assert (run.memory, run.guidance) == ({"resident": 2**30, "card": 2**20}, {"files": {"unet": "model"}})


def test_what_the_audit_did_not_count_is_not_known(tmp_path: Path) -> None:
    (run,) = read_groups([make_run(tmp_path / "mug", audit={2: "not measured"}, measured={"shells": "many"})])[0].runs
    assert (run.parts, run.holes, run.memory) == (None, None, {})


def test_runs_side_by_side_are_a_group_named_one_by_one_or_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mug", "keg"):
        make_run(tmp_path / "out" / name)
    make_run(tmp_path / "out" / "left")
    (tmp_path / "out" / "left" / "result.json").unlink()
    (together,) = read_groups([tmp_path / "out"])
    assert ([run.name for run in together.runs], together.unfinished) == (["keg", "mug"], ("left",))
    monkeypatch.chdir(tmp_path / "out")
    (apart,) = read_groups([Path("mug"), Path("keg")])
    assert (apart.name, [run.name for run in apart.runs]) == ("out", ["mug", "keg"])


def test_groups_of_one_name_are_told_apart_by_what_lies_above(tmp_path: Path) -> None:
    paths = [make_batch(tmp_path / above / "base", done("mug", RED)) for above in ("a/x", "b/x", "c")]
    paths.append(make_batch(tmp_path / "other", done("mug", RED)))
    groups = read_groups(paths)
    assert [group.name for group in groups] == ["a/x/base", "b/x/base", "c/base", "other"]
    assert [group.runs[0].group for group in groups] == [group.name for group in groups]


@pytest.mark.parametrize("name", ["asset.glb", "run.yaml", "audit.json", "provenance.json"])
@pytest.mark.parametrize("in_a_batch", [True, False])
def test_a_finished_run_whose_file_is_gone_or_changed_is_refused(name: str, in_a_batch: bool, tmp_path: Path) -> None:
    given = make_batch(tmp_path / "base", done("mug", RED)) if in_a_batch else make_run(tmp_path / "mug")
    run = given / "mug" if in_a_batch else given
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[:-1] + b"?")
    again = f"`dreamfusion-mesh generate --out {run}` makes it again"
    assert refusal(given) == f"{run / name}: is not the one that result.json lists; {again}"
    (run / name).unlink()
    missing = f"{run / name}: is missing, though its run is finished; {again}"
    assert refusal(given) in (missing, f"{given}: holds neither a run nor a batch; name a folder that `generate` or `batch` wrote")


def break_record(folder: Path, name: str, content: bytes) -> None:
    """Put something else into a record, and list it as if the run had written it."""
    from dreamfusion_mesh.run.result import file_record

    record = json.loads((folder / "result.json").read_text())
    (folder / name).write_bytes(content)
    (folder / "result.json").write_text(json.dumps({**record, "files": {**record["files"], name: file_record(content)}}))


@pytest.mark.parametrize("name", ["audit.json", "provenance.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"schema": 1, "seconds": {"coarse": NaN}}'])
def test_records_that_cannot_be_read_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mug")
    break_record(folder, name, content)
    assert refusal(folder).startswith(f"{folder}: audit.json or provenance.json is not as a run writes it; `dreamfusion-mesh generate")


def test_a_run_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mug")
    record = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**record, "schema": 99}))
    assert refusal(folder).startswith(f"{folder / 'result.json'}: is of schema 99, this version reads up to 1")


def missing(folder: Path) -> None:
    folder.rmdir()


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("a red box")


def other_files(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing")
    (folder / "models").mkdir()


def stopped(folder: Path) -> None:
    shutil.copytree(make_run(folder.parent / "whole"), folder, dirs_exist_ok=True)
    (folder / "result.json").unlink()


def under_way(folder: Path) -> None:
    shutil.copytree(make_batch(folder.parent / "batch", started("mug", RED)), folder, dirs_exist_ok=True)


def deleted(folder: Path) -> None:
    shutil.copytree(make_batch(folder.parent / "batch", done("mug", RED), done("keg", RED)), folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "mug")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "{}: is missing; name a folder that `generate` or `batch` wrote"),
        (a_file, "{}: is a file, not a folder; name a folder that `generate` or `batch` wrote"),
        (lambda folder: None, "{}: is empty; name a folder that `generate` or `batch` wrote"),
        (other_files, "{}: holds neither a run nor a batch; name a folder that `generate` or `batch` wrote"),
        (stopped, "{}: its run is not finished; `dreamfusion-mesh generate --out {}` goes on with it"),
        (under_way, "given: none of its 1 runs is done; evaluate it later"),
        (deleted, "{}/mug: was made and is gone; the `batch` command that made it makes it again"),
    ],
)
def test_a_folder_that_cannot_be_evaluated_is_refused(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    make(tmp_path / "given")
    assert refusal(tmp_path / "given") == message.replace("{}", str(tmp_path / "given"))


def test_what_is_given_twice_is_refused_however_it_is_spelt(tmp_path: Path) -> None:
    batch = make_batch(tmp_path / "base", done("mug", RED))
    (tmp_path / "link").symlink_to(batch)
    for twice in (
        [batch, batch],
        [batch, tmp_path / "link"],
        [batch, batch / "mug"],
        [batch / "mug", batch],
        [batch / "mug", batch / "mug"],
    ):
        folder = twice[1] if twice[0] != batch / "mug" else batch / "mug"
        assert refusal(*twice) == f"{folder}: is given twice, by {twice[0]} and by {twice[1]}; name it once"


def test_a_name_that_is_no_text_is_shown_and_does_not_stop_the_evaluation(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/out\x1b[2J"))
    (group,) = read_groups([make_run(folder / "mug")])
    assert group.name == "out\\x1b[2J"
