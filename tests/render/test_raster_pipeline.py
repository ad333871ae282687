"""A whole run through another back end: what it needs of the contract, what it records, and what --commercial refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import stand_ins
import torch

from dreamfusion_mesh import pipeline
from dreamfusion_mesh.config import GuidanceSettings, RunConfig, dump, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.weights.licences import judge_card
from dreamfusion_mesh.pipeline import export, generate
from dreamfusion_mesh.records.diffusion import PromptEncoding
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.settings import SETTINGS


def settings(**overrides: Any) -> RunConfig:
    changes = ["device=cpu", "coarse.steps=4", "fine.steps=2"]
    return load_config("smoke", changes, {"prompt": "a red mug", "seed": 3, **overrides})


def fitted(folder: Path, licence: str) -> RunFolder:
    """A run whose fine checkpoint records a model of `licence`."""
    run = RunFolder(folder)
    run.write(SETTINGS, dump(settings()).encode())
    notes = {"guidance": {"model": "some-model", "licences": [judge_card("model", {"license": licence})]}}
    run.save_state("fine", {"nothing": torch.zeros(1)}, notes)
    return run


class Licensed:
    """A guidance model of which nothing but the licence is asked."""

    def __init__(self, licence: str) -> None:
        self.licence = licence

    def provenance(self) -> dict[str, str]:
        return {"model": "some-model", "licence": self.licence}

    def for_prompt(self, prompt: str, settings: GuidanceSettings, encoding: PromptEncoding | None = None) -> Any:
        raise AssertionError("asked for a score before its licence was looked at")


@pytest.mark.parametrize("name", ["nvdiffrast", "kaolin"])
def test_run_with_another_back_end_passes_the_audit_and_records_it(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        stand_ins.install(patch, name)
        result = generate(settings(raster={"backend": name}), tmp_path / "run")
    notes = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert notes["rasterizer"]["name"] == name
    assert ("Nvidia" in notes["rasterizer"]["licence"]) == ("research" in (notes["rasterizer"]["terms"] or "")) == (name == "nvdiffrast")
    assert result.audit.passed


def test_commercial_runs_refuse_the_back_end_before_anything_is_written(tmp_path: Path) -> None:
    config = settings(commercial=True, raster={"backend": "nvdiffrast"})
    with pytest.raises(BadInput, match=r"'nvdiffrast': refused with --commercial"):
        generate(config, tmp_path / "run", guidance=Licensed("mit"))
    assert not (tmp_path / "run").exists()


def test_commercial_runs_refuse_the_model_before_anything_is_written(tmp_path: Path) -> None:
    refusal = r"guidance.model 'some-model': refused with --commercial \(its licence is 'cc-by-nc-4.0'\); allowed are Apache-2.0"
    with pytest.raises(BadInput, match=refusal):
        generate(settings(commercial=True), tmp_path / "run", guidance=Licensed("cc-by-nc-4.0"))
    with pytest.raises(AssertionError, match="asked for a score"):
        generate(settings(commercial=False), tmp_path / "run", guidance=Licensed("cc-by-nc-4.0"))
    with pytest.raises(AssertionError, match="asked for a score"):
        generate(settings(commercial=True, licence_checked=True), tmp_path / "run", guidance=Licensed("cc-by-nc-4.0"))
    assert not (tmp_path / "run").exists()


def files_of(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("backend", "licence", "refusal"),
    [
        ("nvdiffrast", "mit", r"raster.backend 'nvdiffrast': refused with --commercial"),
        ("auto", "cc-by-nc-sa-4.0", r"guidance.model 'some-model': refused with --commercial \(its licence is 'cc-by-nc-sa-4.0'\)"),
    ],
)
def test_commercial_export_refuses_before_anything_is_written(backend: str, licence: str, refusal: str, tmp_path: Path) -> None:
    run = fitted(tmp_path, licence)
    before = files_of(tmp_path)
    with pytest.raises(BadInput, match=refusal):
        export(run.path, settings(commercial=True, raster={"backend": backend}))
    assert files_of(tmp_path) == before


def test_commercial_export_goes_on_where_the_recorded_licence_allows_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load_surface(*_: Any) -> Any:
        raise AssertionError("goes on to the surface")

    monkeypatch.setattr(pipeline, "load_surface", load_surface)
    with pytest.raises(AssertionError, match="goes on to the surface"):
        export(fitted(tmp_path, "mit").path, settings(commercial=True))
