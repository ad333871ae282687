"""A run is delivered again from its fine checkpoint, with the run's settings or with others for the delivery."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from smoke_runs import CONFIG, glb

from dreamfusion_mesh.config import change
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import export
from dreamfusion_mesh.run.audit_file import audit_file
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.result import Result


@pytest.fixture
def checkpoint_alone(finished: Result, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("run.yaml", "checkpoints/fine.safetensors"):
        (folder / name).write_bytes((finished.folder / name).read_bytes())
    return folder


def test_export_needs_the_checkpoint_alone(finished: Result, checkpoint_alone: Path) -> None:
    result = export(checkpoint_alone)
    notes = json.loads((checkpoint_alone / "provenance.json").read_text())
    assert result.audit.passed
    assert notes["guidance"] == json.loads((finished.folder / "provenance.json").read_text())["guidance"]
    assert notes["guidance"]["model"] == "embedded"
    assert glb(checkpoint_alone) == glb(finished.folder)


def test_export_with_other_settings_rewrites_files_and_settings(finished: Result, checkpoint_alone: Path) -> None:
    smaller = change(CONFIG, ["texture.size=128", "mesh.triangles=500", "asset.longest_side=2.5"], None, ["texture", "mesh", "asset"])
    export(checkpoint_alone, smaller)
    assert RunFolder(checkpoint_alone).config() == smaller
    assert glb(finished.folder) != glb(checkpoint_alone)
    rows = {row.number: row for row in audit_file(checkpoint_alone / "asset.glb").rows}
    assert rows[13].status == "pass"
    assert rows[3].measured["triangles"] <= 500


def test_a_checkpoint_of_schema_0_takes_its_notes_from_provenance(fitted: Path, finished: Result, delivered_once: None) -> None:
    from safetensors.torch import load_file, save_file

    file = fitted / "checkpoints" / "fine.safetensors"
    save_file(load_file(file), file)  # as versions before the schema wrote it
    export(fitted)
    assert json.loads((fitted / "provenance.json").read_text())["guidance"] == {"model": "embedded"}
    shutil.copy(finished.folder / "provenance.json", fitted / "provenance.json")
    export(fitted)
    notes, before = (json.loads((folder / "provenance.json").read_text()) for folder in (fitted, finished.folder))
    assert notes["guidance"] == before["guidance"]
    assert notes["seconds"]["coarse"] == before["seconds"]["coarse"]
    (fitted / "provenance.json").write_text('{"schema": 2}')
    with pytest.raises(BadInput, match=r"provenance\.json: is of schema 2, this version reads up to 1"):
        export(fitted)
    (fitted / "provenance.json").write_text("{")
    with pytest.raises(BadInput, match=r"provenance\.json: cannot be read .*delete it"):
        export(fitted)


@pytest.mark.parametrize("found", [metadata.PackageNotFoundError("scipy"), None], ids=["no metadata", "no version in them"])
def test_a_package_without_metadata_is_recorded_as_unknown(
    found: Exception | None, fitted: Path, delivered_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version

    def without_scipy(part: str) -> str | None:
        if part != "scipy":
            return version(part)
        if found is not None:
            raise found
        return None

    monkeypatch.setattr(metadata, "version", without_scipy)
    export(fitted)
    versions = json.loads((fitted / "provenance.json").read_text())["versions"]
    assert versions["scipy"] == "unknown"
    assert versions["torch"] == version("torch")


def test_provenance_is_collected_before_the_work(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dreamfusion_mesh import pipeline
    from dreamfusion_mesh.run import work

    order: list[str] = []
    provenance = work.provenance
    monkeypatch.setattr(work, "provenance", lambda *arguments: order.append("provenance") or provenance(*arguments))

    def stop(*arguments: object) -> None:
        order.append("deliver")
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "deliver", stop)
    with pytest.raises(KeyboardInterrupt):
        export(fitted)
    assert order == ["provenance", "deliver"]
