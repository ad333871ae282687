"""What a model cannot serve is refused by the command line in one line, before the model is loaded and before anything is written."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended, caller, check_refused
from tiny_folders import edit_json, write_folder
from tiny_mvdream import write_port
from tiny_pipelines import write_pipeline

from dreamfusion_mesh.guidance.models import low_rank
from dreamfusion_mesh.run import fitting

TOGETHER = ["guidance.multiview=true", "coarse.views=4", "fine.views=4"]
VIEWS = ["coarse.start=views", "coarse.steps=80"]


def alone(folder: Path) -> None:
    write_folder(folder)


def distilled(folder: Path) -> None:
    edit_json(write_folder(folder) / "unet" / "config.json", time_cond_proj_dim=256)


def without_attention(folder: Path) -> None:
    blocks = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "mid_block_type": "UNetMidBlock2D"}
    edit_json(write_folder(folder) / "unet" / "config.json", **blocks)


def mvdream(folder: Path) -> None:
    write_port(folder)


def transformer(folder: Path) -> None:
    write_pipeline("flux2", folder)


def distilled_transformer(folder: Path) -> None:
    transformer(folder)
    edit_json(folder / "model_index.json", is_distilled=True)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    monkeypatch.setattr(fitting, "load_guidance", lambda *given: pytest.fail("the model is loaded"))
    return caller(monkeypatch, capfd, tmp_path)


def refused(command: Callable[..., Ended], changes: list[str], message: str, folder: Path) -> None:
    given = [f"--set={change}" for change in ("guidance.model=model", *changes)]
    check_refused(command("generate", "a red mug", "--preset", "smoke", "--device", "cpu", "--out", "run", *given), message)
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (alone, VIEWS, "error: guidance 'model': is not a multi-view model; set coarse.start=sphere, or name one that is"),
        (alone, TOGETHER, "error: guidance 'model': is not a multi-view model; set guidance.multiview=false, or name one that is"),
        (transformer, VIEWS, "error: guidance 'model': is not a multi-view model; set coarse.start=sphere, or name one that is"),
        (distilled, ["guidance.loss=csd"], "guidance.loss csd: compares the words with none, and guidance 'model' is distilled"),
        (distilled_transformer, ["guidance.loss=ism"], "guidance.loss ism: compares the words with none, and guidance 'model' is"),
        (without_attention, ["guidance.loss=vsd"], "guidance.loss vsd: guidance 'model' has no room for a LoRA"),
        (mvdream, ["guidance.multiview=false"], "guidance 'model': is MVDream, which sees four views together; set guidance"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_a_model_cannot_serve_is_one_line_and_exit_2(
    make: Callable[[Path], None], changes: list[str], message: str, command: Callable[..., Ended], tmp_path: Path
) -> None:
    make(tmp_path / "model")
    refused(command, changes, message, tmp_path)


@pytest.mark.parametrize("make", [alone, transformer, mvdream])
def test_a_lora_without_peft_is_one_line_and_exit_2(
    make: Callable[[Path], None], command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make(tmp_path / "model")
    find = importlib.util.find_spec
    monkeypatch.setattr(low_rank.importlib.util, "find_spec", lambda name, *more: None if name == "peft" else find(name, *more))
    changes = ["guidance.loss=vsd", *(TOGETHER if make is mvdream else [])]
    refused(command, changes, "guidance.loss vsd: needs the package peft, which is not installed; install it with pip install", tmp_path)
