"""A finished run is answered at once, as long as its files are those that were written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from smoke_runs import CONFIG

from dreamfusion_mesh import pipeline
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.run import fitting
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.result import Result, read_result

PUBLISHED = [
    "asset.glb",
    "asset_LOD1.glb",
    "asset_LOD2.glb",
    "asset_collision.glb",
    "asset.obj",
    "asset.mtl",
    "asset_basecolor.png",
    "asset_normal.png",
    "asset_orm.png",
    "asset_roughness.png",
    "asset_metallic.png",
    "preview.png",
    "inspection.png",
    "turntable.webp",
    "metrics.png",
    "audit.json",
    "provenance.json",
    "metrics.jsonl",
    "checkpoints/reference.safetensors",
]


def test_a_finished_run_asked_again_gives_the_same_result_and_redoes_nothing(finished: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("a finished run is done again")

    for name in ("load_model", "coarse_stage", "fine_stage", "load_surface", "deliver", "delivery_files", "publish", "prepare"):
        monkeypatch.setattr(pipeline, name, never)
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*") if path != finished.folder}
    again = generate(CONFIG, finished.folder)
    assert again == finished
    assert again.audit.to_json() == finished.audit.to_json()
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*") if path != finished.folder} == before


def test_the_result_lists_every_file_with_its_hash(finished: Result) -> None:
    record = json.loads((finished.folder / "result.json").read_text())
    assert record["schema"] == 1
    assert record["prompt"] == CONFIG.prompt
    assert record["seed"] == CONFIG.seed
    checkpoints = {f"checkpoints/{name}.safetensors" for name in ("coarse", "fine")}
    assert set(record["files"]) == {*PUBLISHED, *checkpoints, "run.yaml"}
    assert set(finished.files) == {*PUBLISHED, "run.yaml", "result.json"} - {"checkpoints/reference.safetensors"}


def test_warnings_are_given_again(fitted: Path, delivered_once: None) -> None:
    run = RunFolder(fitted)
    state, notes = run.load_state("fine"), run.load_notes("fine")
    assert state is not None
    run.save_state("fine", state, {**notes, "warnings": ["the model does not know the word 'flurbel'"]})
    first = generate(CONFIG, fitted)
    assert first.warnings == ("the model does not know the word 'flurbel'",)
    assert generate(CONFIG, fitted) == first


@pytest.mark.parametrize("name", [*PUBLISHED, "result.json"])
@pytest.mark.parametrize("change", ["edited", "cut", "removed"])
def test_a_file_that_is_not_the_one_written_is_made_again(name: str, change: str, fitted: Path, delivered_once: None) -> None:
    generate(CONFIG, fitted)
    before = {file: file.read_bytes() for file in fitted.glob("asset*")}
    file = fitted / name
    content = file.read_bytes()
    if change == "removed":
        file.unlink()
    else:
        middle = len(content) // 2
        file.write_bytes(content[:middle] + (bytes([content[middle] ^ 1]) + content[middle + 1 :] if change == "edited" else b""))
    again = generate(CONFIG, fitted)
    assert again.audit.passed
    assert read_result(RunFolder(fitted)) == again
    assert {file: file.read_bytes() for file in fitted.glob("asset*")} == before


def test_an_edited_asset_is_unwrapped_and_baked_again_from_the_checkpoint(finished: Result, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    (folder / "asset.glb").write_bytes(b"edited")
    steps = []
    again = generate(CONFIG, folder, report=lambda stage, *_: steps.append(stage))
    assert set(steps) == {"deliver"}
    assert again.audit == finished.audit
    assert (folder / "asset.glb").read_bytes() == (finished.folder / "asset.glb").read_bytes()


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("99", "is of schema 99, this version reads up to 1; install the one that wrote it, or name another folder"),
        ("1.7", r"schema: expected a whole number from 0 to 1 \(given 1\.7\); name another folder"),
        ("true", r"schema: expected a whole number from 0 to 1 \(given True\); name another folder"),
    ],
)
def test_a_result_of_another_schema_is_refused_and_kept(schema: str, reason: str, fitted: Path) -> None:
    text = f'{{"schema": {schema}}}'
    (fitted / "result.json").write_text(text)
    with pytest.raises(BadInput, match=rf"result\.json: {reason}"):
        generate(CONFIG, fitted)
    assert (fitted / "result.json").read_text() == text


def test_a_surface_whose_checkpoint_is_gone_is_fitted_again(fitted: Path, delivered_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(CONFIG, fitted)
    (fitted / "checkpoints" / "fine.safetensors").unlink()
    asked = []
    monkeypatch.setattr(pipeline, "_fit", lambda work, guidance: asked.append(work.run.path))
    monkeypatch.setattr(fitting, "load_guidance", lambda *arguments: None)
    with pytest.raises(BadInput, match="its fine stage is not finished"):  # the stand-in fits nothing
        generate(CONFIG, fitted)
    assert asked == [fitted]
