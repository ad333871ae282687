"""A run's folder takes files whole or not at all, and never mixes two runs."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from privileges import file_size_limit, permissions_hold, umask

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.run import folder as run_folder
from dreamfusion_mesh.run.find import find_run
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.stages.checkpoint import CheckpointWriter

CONFIG = load_config("smoke", overrides={"prompt": "a red mug"})


def opened(path: Path) -> RunFolder:
    """A folder with a run that has its settings and nothing else."""
    run = find_run(path, CONFIG)
    run.keep_config(CONFIG)
    return run


def test_settings_come_back_equal(tmp_path: Path) -> None:
    run = opened(tmp_path / "deep" / "run")
    assert run.config() == CONFIG
    assert opened(run.path).config() == CONFIG


@pytest.mark.parametrize("change", ["prompt='a blue mug'", "seed=3", "coarse.steps=13"])
def test_a_folder_with_another_run_is_refused_and_kept(change: str, tmp_path: Path) -> None:
    run = opened(tmp_path)
    before = (run.path / "run.yaml").read_bytes()
    other = load_config("smoke", ["prompt=a red mug", change])
    with pytest.raises(BadInput, match=f"another run.*{change.split('=')[0]}"):
        find_run(tmp_path, other)
    assert (run.path / "run.yaml").read_bytes() == before


def test_a_folder_with_foreign_files_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="is not empty"):
        find_run(tmp_path, CONFIG)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.write_text("x")
    with pytest.raises(BadInput, match="is a file"):
        find_run(file, CONFIG)
    with pytest.raises(BadInput, match="cannot be written"):
        RunFolder(file).write("a.txt", b"x")


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(BadInput, match="MiB left"):
        generate(CONFIG, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_disk_that_fills_up_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    run.write("a.bin", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match=r"a\.bin.*No space left.*free some space"):
        run.write("a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_checkpoints_come_back_bit_for_bit_and_a_missing_one_is_none(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    state = {"a": torch.rand(3, 4), "b": torch.arange(5), "draws": torch.Generator().manual_seed(1).get_state()}
    run.save_state("coarse", state)
    loaded = run.load_state("coarse")
    assert loaded is not None
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert run.load_state("fine") is None
    run.drop_state("coarse")
    assert run.load_state("coarse") is None


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04\x95pickle", b"\xff" * 64])
def test_a_broken_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write("checkpoints/coarse.safetensors", content)
    with pytest.raises(BadInput, match="not a readable checkpoint"):
        run.load_state("coarse")


@pytest.mark.parametrize("text", ["", "[1]", "coarse: {stpes: 3}", "\x00"])
def test_broken_settings_in_a_folder_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"run\.yaml"):
        RunFolder(tmp_path).config()


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no run"):
        RunFolder(tmp_path).config()


@pytest.mark.parametrize("mask", [0o077, 0o002])
def test_all_files_of_a_run_have_the_permissions_that_the_umask_leaves(mask: int, tmp_path: Path) -> None:
    with umask(mask):
        run = opened(tmp_path / "run")
        run.save_state("coarse", {"a": torch.zeros(3)})
        run.metrics.add({"stage": "coarse", "step": 1})
        run.write_json("result.json", {})
    found = {path.relative_to(run.path).as_posix(): path.stat().st_mode & 0o777 for path in run.path.rglob("*")}
    assert found.pop("checkpoints") == 0o777 & ~mask
    assert found == dict.fromkeys(["run.yaml", "metrics.jsonl", "result.json", "checkpoints/coarse.safetensors"], 0o666 & ~mask)


@pytest.mark.parametrize("background_bytes", [0, 2**20], ids=["in a thread", "at once"])
def test_a_checkpoint_larger_than_files_may_be_is_named_and_the_old_one_stays(background_bytes: int, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save_state("coarse.part", {"a": torch.zeros(3)})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    message = r"coarse\.part\.safetensors: cannot be written \(File too large: this shell lets files have 1000 bytes\); raise that limit"
    with (
        file_size_limit(1000),
        pytest.raises(BadInput, match=message),
        CheckpointWriter(lambda state: run.save_state("coarse.part", state), background_bytes) as writer,
    ):
        writer.put({"a": torch.zeros(3000)})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_metrics_that_reach_the_limit_of_files_end_with_a_whole_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunFolder(tmp_path)
    with file_size_limit(40):
        run.metrics.add({"stage": "coarse", "step": 1})
        run.metrics.add({"stage": "coarse", "step": 2})
    assert "raise that limit" in caplog.text
    assert (tmp_path / "metrics.jsonl").read_text() == '{"stage": "coarse", "step": 1}\n'


def test_what_is_no_file_in_the_place_of_a_runs_file_is_named_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.yaml")
    run = RunFolder(tmp_path)
    with pytest.raises(BadInput, match=r"run\.yaml: is a pipe; name a regular file"):
        run.config()


def test_a_run_in_a_closed_folder_is_named_by_that(tmp_path: Path) -> None:
    opened(tmp_path / "closed" / "run")
    (tmp_path / "closed").chmod(0o600)
    run = RunFolder(tmp_path / "closed" / "run")
    with permissions_hold():
        for work in (run.config, lambda: run.has_state("coarse"), lambda: find_run(run.path, CONFIG), lambda: run.drop_state("coarse")):
            with pytest.raises(BadInput, match=f"you may not enter the folder {tmp_path}/closed"):
                work()


def test_leftovers_of_a_killed_process_are_removed_and_no_other_hidden_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    left: list[Path] = []

    class Killed(BaseException):
        pass

    def killed(source: Path, target: Path) -> None:
        left.append(Path(source))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        for name in ("run.yaml", "checkpoints/coarse.safetensors"):
            with pytest.raises(Killed):
                run.write(name, b"content")
    (tmp_path / ".download.part").write_text("not of the run")
    assert all(path.exists() for path in left)
    run.remove_leftovers()
    assert not any(path.exists() for path in left)
    assert (tmp_path / ".download.part").exists()
