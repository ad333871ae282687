"""A checkpoint says what it is of; one in another's place, or with other content, is named with the remedy."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dreamfusion_mesh.config import dump, load_config
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import export, generate
from dreamfusion_mesh.run.audit_file import audit_file
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.result import Result

CONFIG = load_config("smoke", overrides={"prompt": "a red mug"})
STATE = {"a": torch.zeros(2)}


def metadata(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return dict(opened.metadata())


def rewrite(file: Path, texts: dict[str, str | None]) -> None:
    """Change a checkpoint's metadata; None removes an entry."""
    changed = {**metadata(file), **texts}
    save_file(load_file(file), file, {key: value for key, value in changed.items() if value is not None})


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with its settings and one checkpoint."""
    run = RunFolder(tmp_path / "run")
    run.keep_config(CONFIG)
    run.save_state("coarse", STATE, {"seconds": {"coarse": 1.5}})
    return run


def file_of(run: RunFolder, name: str) -> Path:
    return run.path / "checkpoints" / f"{name}.safetensors"


@pytest.mark.parametrize("name", ["coarse.part", "fine", "reference"])
def test_a_checkpoint_in_anothers_place_is_named(name: str, run: RunFolder) -> None:
    shutil.copy(file_of(run, "coarse"), file_of(run, name))
    remedy = f"delete it; `dreamfusion-mesh generate --out {run.path}` makes it again" if name == "reference" else "delete it to redo its"
    for read in (run.load_state, run.load_notes):
        with pytest.raises(BadInput, match=rf"{name}\.safetensors: is the checkpoint 'coarse' under another name; {remedy}"):
            read(name)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["seed=4"], "seed is 4 there, 0 here"),
        (["guidance.scale=7", "views.ambient=0.5"], "guidance.scale is 7.0 there, 5.0 here; views.ambient is 0.5 there, .* here"),
        (["coarse.field.levels=3"], "coarse.field.levels is 3 there, 4 here"),
    ],
)
def test_a_checkpoint_of_another_run_is_named_by_what_differs(changes: list[str], reason: str, run: RunFolder) -> None:
    other = RunFolder(run.path.parent / "other")
    other.keep_config(load_config("smoke", changes, {"prompt": "a red mug"}))
    other.save_state("coarse", STATE)
    shutil.copy(file_of(other, "coarse"), file_of(run, "coarse"))
    with pytest.raises(BadInput, match=rf"coarse\.safetensors: is of another run \({reason}\); delete it to redo its stage"):
        run.load_state("coarse")


@pytest.mark.parametrize(
    ("changes", "coarse", "fine"),
    [(["mesh.triangles=500", "device=cpu", "raster.backend=warp"], True, True), (["fine.steps=9"], True, False)],
    ids=["delivery", "later stage"],
)
def test_settings_that_a_stage_is_free_of_may_change(changes: list[str], coarse: bool, fine: bool, run: RunFolder) -> None:
    run.save_state("fine", STATE)
    (run.path / "run.yaml").write_text(dump(load_config("smoke", changes, {"prompt": "a red mug"})))
    for name, readable in (("coarse", coarse), ("fine", fine)):
        if readable:
            assert run.load_state(name) is not None
        else:
            with pytest.raises(BadInput, match=r"fine.steps is 4 there, 9 here"):
                run.load_state(name)


def test_a_checkpoint_that_does_not_say_what_it_is_of_is_read(run: RunFolder) -> None:
    """As versions before this one wrote them, with the same schema."""
    assert {"checkpoint", "run.yaml"} <= metadata(file_of(run, "coarse")).keys()
    rewrite(file_of(run, "coarse"), {"checkpoint": None, "run.yaml": None})
    assert set(run.load_state("coarse") or {}) == {"a"}
    assert run.load_notes("coarse") == {"seconds": {"coarse": 1.5}}


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("seconds", "[]", r"its notes cannot be read \(seconds: input should be a valid dictionary\)"),
        ("seconds", '{"coarse": "long"}', r"its notes cannot be read \(seconds\.coarse: input should be a valid number\)"),
        ("seconds", '{"coarse": NaN}', r"its notes cannot be read \(NaN is no number\)"),
        ("seconds", '{"coarse": 1e999}', r"its notes cannot be read \(seconds\.coarse: .*finite"),
        ("seconds", "[" * 100_000, "its notes cannot be read .*recursion"),
        ("guidance", "[]", r"its notes cannot be read \(guidance: input should be a valid dictionary\)"),
        ("guidance", '{"licences": [3]}', r"its notes cannot be read \(guidance\.licences\.0: "),
        ("warnings", '"all"', r"its notes cannot be read \(warnings: input should be a valid list\)"),
        ("run.yaml", "[", "the settings in it cannot be used"),
        ("run.yaml", "name: ci", "the settings in it cannot be used .*is another program's"),
        ("schema", "9" * 5000, "schema: expected a whole number from 0 to 2"),
    ],
)
def test_metadata_that_are_not_what_they_should_be_are_named(key: str, text: str, reason: str, run: RunFolder) -> None:
    rewrite(file_of(run, "coarse"), {key: text})
    for read in (run.load_state, run.load_notes):
        with pytest.raises(BadInput, match=rf"coarse\.safetensors: {reason}.*; delete it to redo its stage$"):
            read("coarse")


def as_folder(file: Path) -> None:
    file.mkdir()


def as_fifo(file: Path) -> None:
    os.mkfifo(file)


def as_loop(file: Path) -> None:
    file.symlink_to(file.name)


@pytest.mark.parametrize("name", ["coarse.part", "coarse", "fine.part", "fine", "reference"])
@pytest.mark.parametrize("make", [as_folder, as_fifo, as_loop])
def test_what_is_no_file_is_named_before_the_work_begins(make: Callable[[Path], None], name: str, run: RunFolder) -> None:
    file_of(run, name).unlink(missing_ok=True)
    make(file_of(run, name))
    for look in (lambda: run.has_state(name), lambda: run.load_state(name), run.remove_leftovers):
        with pytest.raises(
            BadInput, match=rf"{name}\.safetensors: (is a (folder|pipe), not a file; delete it|cannot be read .*Too many levels)"
        ):
            look()


def test_a_file_in_place_of_the_checkpoints_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("x")
    with pytest.raises(BadInput, match=r"checkpoints: is a file, not a folder; delete it"):
        RunFolder(tmp_path).remove_leftovers()


SWAPS = [("coarse", "fine"), ("fine", "reference"), ("fine", "coarse")]


@pytest.mark.parametrize("says", [True, False], ids=["says what it is", "older"])
@pytest.mark.parametrize(("source", "target"), SWAPS)
def test_each_command_names_a_swapped_checkpoint_and_changes_nothing(
    source: str, target: str, says: bool, finished: Result, guidance: GuidanceModel, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    config = RunFolder(folder).config()
    shutil.copy(folder / "checkpoints" / f"{source}.safetensors", folder / "checkpoints" / f"{target}.safetensors")
    if not says:
        rewrite(folder / "checkpoints" / f"{target}.safetensors", {"checkpoint": None, "run.yaml": None})
    before = files_of(folder)
    works = {
        "fine": [lambda: export(folder), lambda: generate(config, folder)],
        "reference": [lambda: audit_file(folder / "asset.glb")],
        "coarse": [lambda: generate(config, folder, guidance=guidance)],
    }[target]
    if target == "coarse":
        (folder / "checkpoints" / "fine.safetensors").unlink()
        before = files_of(folder)
    for work in works:
        with pytest.raises(BadInput, match=rf"{target}\.safetensors: (is the checkpoint '{source}' under|does not fit this run \()"):
            work()
    assert files_of(folder) == before


def test_the_reference_of_another_run_is_named(finished: Result, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    file = folder / "checkpoints" / "reference.safetensors"
    state = load_file(file)
    save_file({**state, "vertices": state["vertices"] * 1.01}, file, metadata(file))
    with pytest.raises(BadInput, match=r"reference\.safetensors: is not the one that this run wrote; delete it; `dreamfusion-mesh gen"):
        audit_file(folder / "asset.glb")
    file.unlink()
    rows = {row.number: row for row in audit_file(folder / "asset.glb").rows}
    assert rows[3].measured["hausdorff"] == "not measured"


def test_writing_tensors_of_ever_other_lengths_leaves_nothing_in_memory(run: RunFolder) -> None:
    """A batch writes surfaces of a new size for every asset."""

    def objects_after(lengths: range) -> int:
        for length in lengths:
            run.save_state("fine", {"mesh.vertices": torch.zeros(length, 3)})
        gc.collect()
        return len(gc.get_objects())

    before = objects_after(range(1, 10))
    assert objects_after(range(1000, 1050)) - before < 50


def test_a_state_is_written_bit_for_bit(run: RunFolder) -> None:
    values = torch.tensor([0.1, -0.0, torch.nan, torch.inf, 2.0**-149])
    kinds = {"a": values.requires_grad_(), "b": torch.tensor(3.5), "c": torch.arange(6).reshape(2, 3).T, "d": torch.zeros(0, 3).double()}
    run.save_state("fine", {**kinds, "e": torch.arange(5).byte()})
    found = run.load_state("fine")
    assert found is not None
    for name, value in {**kinds, "e": torch.arange(5).byte()}.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert found[name].numpy().tobytes() == value.detach().contiguous().numpy().tobytes()
