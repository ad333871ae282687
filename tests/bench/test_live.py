"""What `generate --live` costs, measured with a client that is really sent what is shown."""

from __future__ import annotations

import time

import pytest
import torch

from dreamfusion_mesh.view import live_run
from tools.bench import live


def test_turns_with_and_without_give_their_ratio_and_what_a_client_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("viser", reason="viser is not installed; pip install 'dreamfusion-mesh[view]'")
    monkeypatch.setattr(live_run.LiveRun.__init__, "__defaults__", (1e9, time.perf_counter))  # a share that shows every step
    plain, shown, ratio, busier = live.measure("smoke", torch.device("cpu"), "a red mug", steps=2, rounds=1)
    assert ratio.values == (shown.values[0] / plain.values[0],)
    assert ratio.target == 1.05
    assert busier.values[0] > 0
    assert float(shown.note.split()[-2]) > 0.1  # MiB: a surface of thousands of triangles
