"""A run's folder takes files whole or not at all, and never mixes two runs."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.run import folder as run_folder
from dreamfusion_mesh.run.find import find_run
from dreamfusion_mesh.run.folder import RunFolder

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

    monkeypatch.setattr(run_folder.os, "fsync", full)
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
