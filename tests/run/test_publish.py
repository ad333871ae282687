"""A delivery replaces the files of the one before together, wherever it is stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from privileges import file_size_limit, umask
from smoke_runs import CONFIG, stop_at

from dreamfusion_mesh.config import RunConfig, change
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import export, generate
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.lock import locked
from dreamfusion_mesh.run.result import file_record, read_result

LARGER = change(CONFIG, ["asset.longest_side=2.5", "texture.roughness=0.25"], None, ["asset", "texture"])
pytestmark = pytest.mark.usefixtures("delivered_once")


class Killed(BaseException):
    """Stands for a process that dies: what it would still have done is not done."""


def files_of(folder: Path, hidden: bool = False) -> dict[str, bytes]:
    """Contents by name; of provenance.json without its seconds, which differ from run to run."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and (hidden or not any(part.startswith(".") for part in file.relative_to(folder).parts)):
            found[file.relative_to(folder).as_posix()] = file.read_bytes()
    return found


def asset_of(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_of(folder).items() if name.startswith(("asset", "preview", "audit"))}


def count_writes(monkeypatch: pytest.MonkeyPatch, fail: Callable[[int], None]) -> list[Path]:
    """Let `fail(n)` go before the n-th time that a file is put in its place; the targets are collected."""
    targets: list[Path] = []
    replace = os.replace

    def replacing(source: Any, target: Any) -> None:
        targets.append(Path(target))
        fail(len(targets))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replacing)
    return targets


def die_at(monkeypatch: pytest.MonkeyPatch, stop: int) -> list[Path]:
    """Die at the n-th write: nothing is cleaned up afterwards either."""

    def fail(count: int) -> None:
        if count == stop:
            monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
            for name in ("unlink", "rmdir"):
                monkeypatch.setattr(Path, name, lambda *_, **__: None)
            raise Killed

    return count_writes(monkeypatch, fail)


def fill_disk_at(monkeypatch: pytest.MonkeyPatch, stop: int) -> list[Path]:
    def fail(count: int) -> None:
        if count >= stop:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return count_writes(monkeypatch, fail)


def writes_of(work: Callable[[], Any]) -> int:
    """How many files a piece of work puts in their places."""
    with pytest.MonkeyPatch.context() as patch:
        targets = count_writes(patch, lambda count: None)
        work()
    return len(targets)


def delivered_as(folder: Path, config: RunConfig) -> dict[str, bytes]:
    """The asset's files as `config` makes them, from a copy of the run."""
    other = folder.parent / f"as-{config.asset.longest_side}"
    if not other.exists():
        shutil.copytree(folder, other)
        export(other, config)
    return asset_of(other)


def check_finished(folder: Path, old: RunConfig = CONFIG, new: RunConfig = LARGER) -> None:
    """The folder holds one whole run: its files, settings, audit, provenance and hashes belong together."""
    run = RunFolder(folder)
    result, config = read_result(run), run.config()
    assert result is not None
    assert config in (old, new)
    assert asset_of(folder) == delivered_as(folder, config)
    assert result.audit.passed
    notes = json.loads((folder / "provenance.json").read_text())
    assert notes["settings"] == config.model_dump(mode="json")
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("stop", [die_at, fill_disk_at], ids=["killed", "full disk"])
def test_an_export_stopped_at_any_write_leaves_the_old_run_or_one_that_is_redone(
    stop: Callable[..., list[Path]], fitted: Path, tmp_path: Path
) -> None:
    generate(CONFIG, fitted)
    before, start = files_of(fitted), tmp_path / "start"
    delivered_as(fitted, LARGER)
    shutil.copytree(fitted, start)
    writes = writes_of(lambda: export(fitted, LARGER))
    staged = len([name for name in before if not name.startswith(("metrics.jsonl", "result", "checkpoints/coarse", "checkpoints/fine"))])
    assert writes == 2 * staged + 2  # each is staged and moved; provenance.json is staged twice, result.json is written at the end
    outcomes = set()
    for at in range(1, writes + 1):
        folder = tmp_path / f"stopped-{at}"
        shutil.copytree(start, folder)
        with pytest.MonkeyPatch.context() as patch:
            targets = stop(patch, at)
            with pytest.raises((Killed, BadInput)):
                export(folder, LARGER)
        run = RunFolder(folder)
        if at <= staged + 2:  # while files are staged, or before the first one is moved
            assert files_of(folder) == before
        assert (read_result(run) is not None) == (files_of(folder) == before)
        assert (stop is die_at) or not [path for path in folder.rglob("*") if path.name.startswith(".")]
        outcomes.add(run.config().asset.longest_side)
        result = generate(run.config(), folder)
        assert result == read_result(run), targets
        check_finished(folder)
    assert outcomes == {CONFIG.asset.longest_side, LARGER.asset.longest_side}


def test_a_first_delivery_killed_at_any_write_is_finished_by_the_same_command(fitted: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(fitted, start)
    writes = writes_of(lambda: generate(CONFIG, fitted))
    for at in range(1, writes + 1):
        folder = tmp_path / f"stopped-{at}"
        shutil.copytree(start, folder)
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, at)
            with pytest.raises(Killed):
                generate(CONFIG, folder)
        assert read_result(RunFolder(folder)) is None
        generate(CONFIG, folder)
        check_finished(folder)


def test_a_run_killed_at_its_writes_goes_on_to_the_same_surface(guidance, tmp_path: Path) -> None:
    config = change(CONFIG, ["coarse.steps=8"], None, ["coarse"])
    with pytest.raises(KeyboardInterrupt):
        generate(config, tmp_path / "whole", guidance=guidance, report=stop_at("deliver", 0))
    whole, run = RunFolder(tmp_path / "whole").load_state("fine"), RunFolder(tmp_path / "killed")
    kills = 0
    while not run.has_state("fine"):
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, 3)  # each process writes two files, one of which may be the metrics without the steps done again
            with pytest.raises((Killed, KeyboardInterrupt)):
                generate(config, run.path, guidance=guidance, report=stop_at("deliver", 0))
        kills += 1
        assert kills < 20
    state = run.load_state("fine")
    assert whole is not None
    assert state is not None
    assert kills > 2
    assert state.keys() == whole.keys()
    assert all(torch.equal(state[key], whole[key]) for key in whole)


def test_the_files_move_before_the_settings_and_the_result_comes_last(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = count_writes(monkeypatch, lambda count: None)
    generate(CONFIG, fitted)
    moved = [target.relative_to(fitted).as_posix() for target in targets if ".staged" not in target.parts]
    assert set(moved[:-2]) >= {"asset.glb", "asset.obj", "audit.json", "provenance.json", "checkpoints/reference.safetensors"}
    assert moved[-2:] == ["run.yaml", "result.json"]


def test_files_of_an_earlier_delivery_that_the_new_one_lacks_are_removed(fitted: Path) -> None:
    generate(CONFIG, fitted)
    record = json.loads((fitted / "result.json").read_text())
    (fitted / "asset_emissive.png").write_bytes(b"a map that is no longer made")
    (fitted / "mine.txt").write_bytes(b"not of the run")
    record["files"]["asset_emissive.png"] = file_record(b"a map that is no longer made")
    (fitted / "result.json").write_text(json.dumps(record))
    export(fitted, LARGER)
    assert not (fitted / "asset_emissive.png").exists()
    assert (fitted / "mine.txt").exists()


def test_a_folder_that_is_locked_is_neither_exported_nor_generated(fitted: Path) -> None:
    before = files_of(fitted)
    with locked(fitted):
        for work in (lambda: export(fitted, LARGER), lambda: generate(CONFIG, fitted)):
            with pytest.raises(BadInput, match=f"in use by process {os.getpid()}"):
                work()
    assert files_of(fitted, hidden=True) == before


def test_export_refuses_settings_that_the_surface_was_made_with(fitted: Path) -> None:
    before = files_of(fitted)
    with pytest.raises(BadInput, match=r"coarse\.steps is 12 there, 13 here; only settings of mesh, texture"):
        export(fitted, change(CONFIG, ["coarse.steps=13"], None, ["coarse"]))
    assert files_of(fitted, hidden=True) == before


def test_a_delivery_goes_through_links_in_the_runs_folder(fitted: Path, tmp_path: Path) -> None:
    disk = tmp_path / "other disk"
    disk.mkdir()
    shutil.move(fitted / "checkpoints", disk / "checkpoints")
    links = {
        "checkpoints": disk / "checkpoints",
        "asset.glb": disk / "model.glb",
        "preview.png": disk / "none.png",
        "run.yaml": disk / "s.yaml",
    }
    shutil.move(fitted / "run.yaml", links["run.yaml"])
    links["asset.glb"].write_bytes(b"an older model")
    for name, target in links.items():
        (fitted / name).symlink_to(target)
    with umask(0o077):
        generate(CONFIG, fitted)
    for config in (CONFIG, LARGER):
        if config is LARGER:
            export(fitted, config)
        assert {name: os.readlink(fitted / name) for name in links} == {name: str(target) for name, target in links.items()}
        check_finished(fitted)
    assert links["asset.glb"].read_bytes() == (fitted / "asset.glb").read_bytes() == delivered_as(fitted, LARGER)["asset.glb"]


def test_a_delivery_has_the_permissions_that_the_umask_leaves(fitted: Path) -> None:
    before = {path for path in fitted.rglob("*") if path.is_file() and path.name != "run.yaml"}
    with umask(0o007):
        generate(CONFIG, fitted)
    modes = {path.name: path.stat().st_mode & 0o777 for path in fitted.rglob("*") if path.is_file() and path not in before}
    assert {"asset.glb", "asset.obj", "audit.json", "result.json", "run.yaml", "reference.safetensors"} <= set(modes)
    assert set(modes.values()) == {0o660}


def test_an_export_larger_than_files_may_be_leaves_the_old_run(fitted: Path) -> None:
    generate(CONFIG, fitted)
    before = files_of(fitted)
    with file_size_limit(5000), pytest.raises(BadInput, match="this shell lets files have 5000 bytes"):
        export(fitted, LARGER)
    assert files_of(fitted, hidden=True) == before
