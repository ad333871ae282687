"""The first half of a run alone: halted and resumed to the same bits, delivered later by another call, many rows through one model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from smoke_runs import CONFIG, glb

from dreamfusion_mesh import pipeline
from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.pipeline import fit, generate
from dreamfusion_mesh.run import fitting, work
from dreamfusion_mesh.run.find import move_to_device
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.result import Result
from dreamfusion_mesh.stages.fit import Halted

NEVER = "1e6"  # seconds between checkpoints


def with_changes(*changes: str, prompt: str = CONFIG.prompt) -> RunConfig:
    return load_config("smoke", ["device=cpu", *changes], {"prompt": prompt, "seed": CONFIG.seed})


def fitted_state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "fine.safetensors")


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def refuse(*arguments: Any, **named: Any) -> Any:
    raise AssertionError("is not to be called")


def fit_until_halted(config: RunConfig, folder: Path, guidance: GuidanceModel) -> str:
    """Goes on with a fit for two steps of a stage; gives what Halted says, empty where the fit was finished."""
    steps: list[int] = []
    try:
        fit(config, folder, guidance=guidance, report=lambda stage, done, *_: steps.append(done), stop=lambda: bool(steps))
    except Halted as halted:
        return str(halted)
    return ""


def test_a_fit_that_is_halted_again_and_again_gives_the_same_bits(finished: Result, guidance: GuidanceModel, tmp_path: Path) -> None:
    """Nothing but the halts leaves checkpoints: none is due by time."""
    config, folder, said = with_changes(f"coarse.checkpoint_seconds={NEVER}", f"fine.checkpoint_seconds={NEVER}"), tmp_path / "run", []
    while (reason := fit_until_halted(config, folder, guidance)) != "":
        said.append(reason)
        assert not (folder / ".lock").exists()
    coarse = [f"coarse: stopped as asked, after step {step} of 12" for step in (2, 4, 6, 8, 10)]
    assert said == [*coarse, "fine: stopped as asked, before it began", "fine: stopped as asked, after step 2 of 4"]
    assert_same(fitted_state(folder), fitted_state(finished.folder))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [("coarse", n + 1) for n in range(12)] + [("fine", n + 1) for n in range(4)]
    assert {file.stem for file in (folder / "checkpoints").iterdir()} == {"coarse", "fine"}


def test_a_fit_that_is_to_stop_before_it_begins_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "load_guidance", refuse)
    with pytest.raises(Halted, match="model: stopped as asked, before it began"):
        fit(CONFIG, tmp_path / "run", stop=lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_a_fitted_run_is_delivered_without_the_model(
    finished: Result, guidance: GuidanceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    fit(CONFIG, folder, guidance=guidance)
    assert {file.name for file in folder.iterdir()} == {"run.yaml", "checkpoints", "metrics.jsonl"}
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    monkeypatch.setattr(fitting, "load_guidance", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "prepare", refuse)  # a fitted run is not even looked over
        fit(CONFIG, folder, report=refuse, stop=refuse)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file != folder} == {
        file: time for file, time in before.items() if file != folder
    }
    result = generate(CONFIG, folder)
    assert glb(folder) == glb(finished.folder)
    monkeypatch.setattr(pipeline, "prepare", refuse)
    fit(CONFIG, folder, report=refuse, stop=refuse)
    assert generate(CONFIG, folder) == result


def test_a_run_that_is_half_done_goes_on_where_another_device_is_asked_for(
    finished: Result, guidance: GuidanceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` stands for the other device: both are the CPU here, and the settings differ."""
    monkeypatch.setattr(work, "resolve_device", lambda name: torch.device("cpu"))
    folder, moves = tmp_path / "run", []
    devices = itertools.cycle([CONFIG, CONFIG.model_copy(update={"device": "auto"})])
    while True:
        config, there = next(devices), (folder / "run.yaml").exists()
        if there:
            with pytest.raises(BadInput, match="other settings of its delivery"):
                fit(config, folder, guidance=guidance)
        move_to_device(folder, config)
        if not (reason := fit_until_halted(config, folder, guidance)):
            break
        moves.append(reason)
        assert load_config(str(folder / "run.yaml")) == config
    assert sum(move.startswith("coarse") for move in moves) == 5
    assert sum(move.startswith("fine: stopped as asked, after step") for move in moves) == 1
    assert_same(fitted_state(folder), fitted_state(finished.folder))


OTHER = with_changes(
    "guidance.scale=20",
    "guidance.perp_neg=1",
    "guidance.negative_prompt=a blue table",
    "guidance.textureless_words=a white {subject}",
    "guidance.multiview=true",
    "coarse.views=4",
    "coarse.steps=4",
    "fine.views=4",
    "fine.steps=2",
    "coarse.field.levels=3",
    prompt="a blue mug",
)


def test_rows_through_one_model_give_what_each_gives_alone(
    finished: Result, guidance: GuidanceModel, tmp_path: Path, fresh: Callable[[RunConfig], GuidanceModel]
) -> None:
    """A, which is `finished`, then B, then A: neither row leaves anything behind in the model, in a cache or in a generator."""
    for name, config in (("b", OTHER), ("again", CONFIG)):
        fit(config, tmp_path / name, guidance=guidance)
    fit(OTHER, tmp_path / "alone", guidance=fresh(OTHER))
    assert_same(fitted_state(tmp_path / "again"), fitted_state(finished.folder))
    assert_same(fitted_state(tmp_path / "b"), fitted_state(tmp_path / "alone"))
    assert RunFolder(tmp_path / "b").load_notes("fine")["guidance"] == fresh(OTHER).provenance()


@pytest.fixture
def fresh() -> Callable[[RunConfig], GuidanceModel]:
    """A model that nothing was asked of before."""
    return lambda config: load_guidance(config.guidance, "cpu")
