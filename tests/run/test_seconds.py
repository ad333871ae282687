"""provenance.json says what each stage took, in however many processes it was done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from smoke_runs import CONFIG, stop_at

from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.run import folder as run_folder


class Clock:
    """A clock that goes on by a second with every step that is reported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(run_folder, "perf_counter", lambda: self.now)

    def stop_at(self, stage: str, step: int):
        stop = stop_at(stage, step)

        def report(name: str, done: int, total: int, figures: object, scene: object) -> None:
            self.now += 1
            stop(name, done, total, figures, scene)

        return report


def test_the_seconds_of_a_resumed_run_are_those_of_all_its_processes(
    guidance: GuidanceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivered_once: None
) -> None:
    clock = Clock(monkeypatch)
    for stage, step in (("coarse", 5), ("coarse", 9), ("fine", 2)):
        with pytest.raises(KeyboardInterrupt):
            generate(CONFIG, tmp_path, guidance=guidance, report=clock.stop_at(stage, step))
        clock.now += 1000  # between two processes
    generate(CONFIG, tmp_path, guidance=guidance, report=clock.stop_at("none", 0))
    seconds = json.loads((tmp_path / "provenance.json").read_text())["seconds"]
    # a checkpoint is written before its step is reported, so a stop after a step leaves that step's second out
    assert seconds["coarse"] == CONFIG.coarse.steps - 2
    assert seconds["fine"] == CONFIG.fine.steps - 1


def test_a_coarse_stage_of_unknown_seconds_is_left_out(
    guidance: GuidanceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivered_once: None
) -> None:
    clock = Clock(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        generate(CONFIG, tmp_path, guidance=guidance, report=clock.stop_at("fine", 1))
    run = run_folder.RunFolder(tmp_path)
    state = run.load_state("coarse")
    assert state is not None
    run.save_state("coarse", state)
    generate(CONFIG, tmp_path, guidance=guidance, report=clock.stop_at("none", 0))
    seconds = json.loads((tmp_path / "provenance.json").read_text())["seconds"]
    assert "coarse" not in seconds
    assert seconds["fine"] == CONFIG.fine.steps - 1
