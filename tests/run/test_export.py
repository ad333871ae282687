"""A run is delivered again from its fine checkpoint, with the run's settings or with others for the delivery."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from smoke_runs import CONFIG, glb

from dreamfusion_mesh.config import change
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import export, generate
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


@pytest.mark.parametrize(("schema", "reason"), [(None, "schema 0, this version reads 2 .optimisers"), ("3", "schema 3, .*reads up to 2")])
@pytest.mark.parametrize("name", ["coarse.part", "fine"])
def test_a_checkpoint_of_another_schema_is_refused_and_kept(
    schema: str | None, reason: str, name: str, fitted: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    file = fitted / "checkpoints" / f"{name}.safetensors"
    state = load_file(fitted / "checkpoints" / "fine.safetensors")
    save_file(state, file, None if schema is None else {"schema": schema})
    before = {path: path.read_bytes() for path in fitted.rglob("*") if path.is_file()}
    with pytest.raises(BadInput, match=f"{name}.safetensors: is of {reason}.*delete it to redo its stage"):
        RunFolder(fitted).load_state(name)
    if name == "fine":
        for work in (lambda: export(fitted), lambda: generate(CONFIG, fitted)):
            with pytest.raises(BadInput, match=f"is of {reason}"):
                work()
    assert {path: path.read_bytes() for path in fitted.rglob("*") if path.is_file()} == before


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
