"""For which engine the files are: `--engine` of `generate` and `export` stands for the setting `asset.engine`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Ended, caller, check_refused

from dreamfusion_mesh import pipeline
from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.folder import RunFolder

PROMPT = "a red mug"
GENERATE = ("generate", PROMPT, "--preset", "smoke")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process, in the folder `tmp_path`, where the folder `run` holds a run."""
    RunFolder(tmp_path / "run").keep_config(load_config("smoke", ["asset.engine=godot"], {"prompt": PROMPT}))
    return caller(monkeypatch, capfd, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "engine"),
    [
        (GENERATE, "generic"),
        ((*GENERATE, "--engine", "unreal"), "unreal"),
        ((*GENERATE, "--set", "asset.engine=unity", "--engine", "unreal"), "unreal"),
        ((*GENERATE, "--set", "asset.engine=unity"), "unity"),
        (("export", "run"), "godot"),
        (("export", "run", "--engine", "generic"), "generic"),
        (("export", "run", "--engine", "unity", "--set", "asset.lods=1"), "unity"),
    ],
)
def test_the_flag_stands_for_the_setting(
    arguments: tuple[str, ...], engine: str, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def work(*given: Any, **named: Any) -> None:
        (config,) = (value for value in given if isinstance(value, RunConfig))
        seen.append(config.asset.engine)
        raise BadInput("the work begins here")

    monkeypatch.setattr(pipeline, arguments[0], work)
    check_refused(command(*arguments), "the work begins here")
    assert seen == [engine]


@pytest.mark.parametrize("arguments", [GENERATE, ("export", "run")], ids=["generate", "export"])
def test_an_unknown_engine_is_one_line_that_names_those_there_are(arguments: tuple[str, ...], command: Callable[..., Ended]) -> None:
    expected = "asset.engine: expected one of generic, unreal, unity, godot (given 'uneal')"
    check_refused(command(*arguments, "--engine", "uneal"), expected)


@pytest.mark.parametrize(
    ("setting", "module", "package"), [("asset.usdz", "pxr", "usd-core"), ("asset.video", "imageio_ffmpeg", "imageio-ffmpeg")]
)
def test_a_file_whose_package_is_missing_is_refused_before_the_work(
    setting: str, module: str, package: str, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    check_refused(command(*GENERATE, "--set", f"{setting}=true", "--out", "new"), f"{setting}: needs {package}")
    assert not (tmp_path / "new").exists()
