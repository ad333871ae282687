"""What a whole run costs, from the records that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.bench import stages
from tools.bench.machine import Ended


def test_memory_is_what_the_run_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is that of the process that fitted, and on a card that of its tensors, not of whatever process was the largest."""

    def run(arguments: list[str]) -> Ended:
        folder = Path(json.loads(arguments[-1])[-1])
        folder.mkdir()
        lines = [{"stage": stage, "step_ms": 9.0, "guidance_ms": 5.0, "render_ms": 3.0} for stage in ("coarse", "fine")]
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        notes = {"seconds": {"coarse": 2.0, "audit": 1.0}, "memory": {"resident": 3 * 2**30, "card": 2**29}}
        (folder / "provenance.json").write_text(json.dumps(notes))
        return Ended(4.0, 5 * 2**30, "")

    monkeypatch.setattr(stages, "whole_process", run)
    found = {figure.name: figure.values for figure in stages.measure("smoke", "cpu", "a red mug", None)}
    assert found["most memory"] == (3 * 2**10,)
    assert found["most memory of tensors on the card"] == (2**9,)
    assert found["coarse step: rest"] == (1.0,)
    assert found["seconds: the whole process"] == (4.0,)
