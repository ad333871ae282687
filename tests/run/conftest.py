"""A run whose surface is fitted, and a delivery that is worked out once, so that tests can write and rewrite its files."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamfusion_mesh import pipeline
from dreamfusion_mesh.config import AssetSettings, RunConfig
from dreamfusion_mesh.deliver import Delivered
from dreamfusion_mesh.run import fitting, publish
from dreamfusion_mesh.run.audit_asset import audit_asset
from dreamfusion_mesh.run.result import Result
from dreamfusion_mesh.stages.fine import Surface

_DELIVERED: dict[str, Delivered] = {}
_FILES: dict[str, Any] = {}
_AUDITS: dict[tuple[bytes, str], Any] = {}


@pytest.fixture
def fitted(finished: Result, tmp_path: Path) -> Path:
    """A run's folder as the fine stage leaves it."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("run.yaml", "metrics.jsonl", "checkpoints/coarse.safetensors", "checkpoints/fine.safetensors"):
        shutil.copy(finished.folder / name, folder / name)
    return folder


@pytest.fixture
def delivered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unwrap, bake, preview and audit are worked out once for the same settings; no guidance is loaded."""
    deliver, delivery_files = pipeline.deliver, pipeline.delivery_files
    current = ""

    def delivering(surface: Surface, rasterizer: Any, config: RunConfig, origin: Any, *rest: Any) -> Delivered:
        nonlocal current
        shape = hashlib.sha256(surface.mesh.vertices.numpy().tobytes()).hexdigest()
        current = f"{shape} {config.prompt} {config.mesh} {config.texture} {config.asset} {config.audit} {origin}"
        return _once(_DELIVERED, current, lambda: deliver(surface, rasterizer, config, origin, *rest))

    def writing(asset: Any, rasterizer: Any, settings: AssetSettings) -> Any:
        return _once(_FILES, f"{current} {settings.model_dump_json()}", lambda: delivery_files(asset, rasterizer, settings))

    def auditing(path: Path, config: RunConfig, reference: Any) -> Any:
        return _once(_AUDITS, (path.read_bytes(), current), lambda: audit_asset(path, config, reference))

    monkeypatch.setattr(pipeline, "deliver", delivering)
    monkeypatch.setattr(pipeline, "delivery_files", writing)
    monkeypatch.setattr(publish, "audit_asset", auditing)
    monkeypatch.setattr(fitting, "load_guidance", refuse("loads the model"))


def refuse(what: str) -> Callable[..., Any]:
    """A function that must not be called."""

    def called(*arguments: Any, **named: Any) -> Any:
        raise AssertionError(what)

    return called


def _once(known: dict[Any, Any], key: Any, work: Callable[[], Any]) -> Any:
    if key not in known:
        known[key] = work()
    return known[key]
