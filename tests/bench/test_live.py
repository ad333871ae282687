"""What `generate --live` costs, measured with a client that is really sent what is shown."""

from __future__ import annotations

import math

import pytest
import torch

from tools.bench import live


def test_turns_with_and_without_give_their_ratio_and_what_a_client_was_sent() -> None:
    pytest.importorskip("viser", reason="viser is not installed; pip install 'dreamfusion-mesh[view]'")
    plain, shown, ratio, busier = live.measure("smoke", torch.device("cpu"), "a red mug", steps=2, rounds=1, share=math.inf)
    assert ratio.values == (shown.values[0] / plain.values[0],)
    assert ratio.target == 1.05
    assert busier.values[0] > 0
    assert float(shown.note.split()[-2]) > 0.1  # MiB: a surface of thousands of triangles
