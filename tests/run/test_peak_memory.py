"""provenance.json says how much memory a run's processes had at most."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from smoke_runs import CONFIG, stop_at

from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.run import fitting, peak_memory, publish

_MEASURE = """
import torch
from dreamfusion_mesh.run.peak_memory import peak_memory
before = peak_memory()["resident"]
block = torch.ones(2**26, dtype=torch.uint8)
del block
print(before, peak_memory()["resident"])
"""


def test_what_was_freed_counts_and_another_process_does_not() -> None:
    large = torch.ones(2**28, dtype=torch.uint8)  # which the process that is started must not be told of
    ended = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, check=True, text=True, timeout=120)
    before, after = map(int, ended.stdout.split())
    assert 0.9 * len(large) / 4 < after - before < 2 * len(large) / 4


def test_a_system_without_proc_is_asked_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = peak_memory.peak_memory()["resident"]
    monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "status")
    assert peak_memory.peak_memory()["resident"] >= 0.9 * known


def test_of_two_halves_the_larger_figure_of_each_kind_holds() -> None:
    assert peak_memory.largest({"resident": 5, "card": 1}, {"resident": 3}, {}) == {"resident": 5, "card": 1}
    assert peak_memory.largest({}, {}) == {}


def test_a_run_has_the_most_of_all_its_processes(
    guidance: GuidanceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivered_once: None
) -> None:
    figures = iter([{"resident": 700, "card": 90}])
    monkeypatch.setattr(fitting, "peak_memory", lambda: next(figures))
    with pytest.raises(KeyboardInterrupt):
        generate(CONFIG, tmp_path, guidance=guidance, report=stop_at("fine", 1))
    monkeypatch.setattr("dreamfusion_mesh.pipeline.peak_memory", lambda: {"resident": 600, "card": 95})
    monkeypatch.setattr(publish, "peak_memory", lambda: {"resident": 500})
    generate(CONFIG, tmp_path, guidance=guidance)
    assert json.loads((tmp_path / "provenance.json").read_text())["memory"] == {"resident": 700, "card": 95}
