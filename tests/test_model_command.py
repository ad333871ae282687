"""The command `models`, and a whole run by `--model`: MVDream from the hub's cache, by its preset's name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended, caller, check_refused
from hub_cache import empty_cache, keep
from smoke_runs import SMALL_DELIVERY
from tiny_mvdream import write_port

from dreamfusion_mesh.config import model_names, read_model

MVDREAM = "ashawkey/mvdream-sd2.1-diffusers"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    return caller(monkeypatch, capfd, tmp_path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_cache(tmp_path / "hub", monkeypatch)


def test_models_are_listed_with_licence_size_memory_and_what_is_here(command: Callable[..., Ended], cache: Path, tmp_path: Path) -> None:
    keep(write_port(tmp_path / "made"), cache, MVDREAM, str(read_model("mvdream").revision))
    ended = command("models")
    assert (ended.returncode, ended.stderr) == (0, "")
    head, *lines = ended.stdout.splitlines()
    assert head.split()[:3] == ["name", "family", "licence"]
    assert [line.split()[0] for line in lines] == model_names()
    found = {line.split()[0]: line for line in lines}
    assert found["if-xl"].split("  ")[-1] == "no"
    assert "not allowed" in found["if-xl"]
    assert "17 GB" in found["sd21-base"]
    assert "over 7 GB" in found["sdxl"]
    assert found["mvdream"].endswith("yes, 0.0 GB in the hub's cache")
    assert found["embedded"].endswith("yes")


def test_a_card_says_all_that_a_preset_holds(command: Callable[..., Ended], cache: Path) -> None:
    shown = command("models", "if-xl").stdout
    for text in ("DeepFloyd/IF-I-XL-v1.0", "c03d510e9b75bce9f9db5bb85148c1402ad7e694", "bars commercial use", "gated", "guidance.scale=20"):
        assert text in shown
    assert "what main is when it is fetched" in command("models", "prx-256").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "models 'nothing': no model has that name"),
        (["sd51"], "did you mean 'sd15'?"),
        (["--download", "embedded"], "comes with the package; there is nothing to fetch"),
        (["--download", "sd51"], "--download 'sd51': neither an id (owner/name) nor the name of a model; did you mean 'sd15'?"),
        (["sd15", "--download", "sd15"], "not both"),
    ],
)
def test_other_names_are_refused(command: Callable[..., Ended], arguments: list[str], message: str) -> None:
    check_refused(command("models", *arguments), message)


def test_a_model_that_is_not_here_is_refused_before_anything_is_written(command: Callable[..., Ended], cache: Path, tmp_path: Path) -> None:
    ended = command("generate", "a red mug", "--model", "sd15", "--preset", "smoke", "--device", "cpu", "--out", "run")
    assert ended.returncode == 2
    assert "guidance 'sd15': is no folder, and the hub's local cache does not hold sd15" in ended.stderr
    assert "`dreamfusion-mesh models --download sd15`" in ended.stderr
    assert not (tmp_path / "run" / "run.yaml").exists()


def test_mvdream_guides_a_whole_run_by_the_name_of_its_preset(command: Callable[..., Ended], cache: Path, tmp_path: Path) -> None:
    keep(write_port(tmp_path / "made"), cache, MVDREAM, commit := str(read_model("mvdream").revision))
    small = [f"--set={change}" for change in (*SMALL_DELIVERY, "coarse.size=16", "fine.size=16", "coarse.steps=6", "fine.steps=2")]
    asked = ["--preset", "smoke", "--model", "mvdream", "--device", "cpu", "--out", "run", *small]
    ended = command("generate", "a red mug", *asked)
    assert ended.returncode == 0, ended.stderr
    facts = json.loads((tmp_path / "run" / "provenance.json").read_text())["guidance"]
    assert facts["model"] == f"{MVDREAM}@{commit}"
    assert facts["prediction"] == "epsilon"
    assert (tmp_path / "run" / "asset.glb").is_file()
    settings = (tmp_path / "run" / "run.yaml").read_text()
    assert "  model: mvdream\n" in settings
    assert "  one_orbit: true\n" in settings
    refused = command("generate", "a red mug", *asked[:-1], "--set=views.overhead=0.5", "--out", "other")
    check_refused(refused, "is MVDream, which knows elevations from 0 to 30 degrees")
    assert not (tmp_path / "other" / "run.yaml").exists()
