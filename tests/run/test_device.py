"""The device of a run: what torch and Warp both have."""

from __future__ import annotations

import logging

import pytest
import torch

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.kernels import launch
from dreamfusion_mesh.run.device import cuda_missing, resolve_device


@pytest.fixture
def torch_has_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_cpu_is_cpu_and_warp_is_not_asked(torch_has_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "warp_missing", None)
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_card_that_torch_and_warp_have_is_used(name: str, torch_has_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "warp_missing", lambda device: None)
    assert resolve_device(name) == torch.device("cuda")
    assert cuda_missing() is None


def test_a_card_that_warp_lacks_is_refused_with_what_warp_wrote(torch_has_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "warp_missing", lambda device: f"Warp cannot run on {device} (Warp CUDA\nwarning: driver too old)")
    with pytest.raises(BadInput) as caught:
        resolve_device("cuda")
    cause = "torch has cuda:0 and Warp has not: Warp cannot run on cuda:0 (Warp CUDA warning: driver too old)"
    assert str(caught.value) == f"--device cuda: {cause}; use --device cpu, or install what is missing"


def test_auto_says_why_a_card_is_not_used(torch_has_cuda: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(launch, "warp_missing", lambda device: "driver too old")
    with caplog.at_level(logging.WARNING):
        assert resolve_device("auto") == torch.device("cpu")
    assert "torch has cuda:0 and Warp has not: driver too old" in caplog.text


@pytest.mark.parametrize(("build", "cause"), [(None, "torch is a CPU build"), ("13.0", "torch found no CUDA driver or no card")])
def test_without_a_card_the_cause_is_named(
    build: str | None, cause: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    with pytest.raises(BadInput, match=f"--device cuda: {cause}; use --device cpu"):
        resolve_device("cuda")
    with caplog.at_level(logging.WARNING):
        assert resolve_device("auto") == torch.device("cpu")
    assert not caplog.records  # nothing is amiss on a machine without a card
