"""metrics.png shows every step that was logged, and nothing that is wrong with a log ends a run."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from smoke_runs import CONFIG

from dreamfusion_mesh.pipeline import generate
from dreamfusion_mesh.render.line_plots import HEIGHT, WIDTH
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.metrics_picture import metrics_picture, plots_of

PLOTS = 3


def step(stage: str, number: int, **more: Any) -> dict[str, Any]:
    return {"stage": stage, "step": number, "residual": 1 / number, "step_ms": 900.0, "render_ms": 300.0, "guidance_ms": 450.0, **more}


def steps(coarse: int = 30, fine: int = 20) -> list[dict[str, Any]]:
    first = [step("coarse", number) for number in range(1, coarse + 1)]
    return first + [step("fine", number, faces=1000.0 - number) for number in range(1, fine + 1)]


def drawn(folder: Path, lines: list[dict[str, Any]], more: bytes = b"") -> dict[str, bytes]:
    (folder / "metrics.jsonl").write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + more)
    return metrics_picture(RunFolder(folder).metrics)


def picture(found: dict[str, bytes]) -> np.ndarray:
    assert list(found) == ["metrics.png"]
    return np.asarray(Image.open(io.BytesIO(found["metrics.png"])).convert("RGB"))


def test_a_plot_holds_a_point_for_each_step_that_has_the_value() -> None:
    residual, triangles, seconds = plots_of(steps(30, 20))
    assert residual.curves["residual"] == [(at, 1 / (at if at <= 30 else at - 30)) for at in range(1, 51)]
    assert triangles.curves["triangles"] == [(30 + number, 1000 - number) for number in range(1, 21)]
    assert seconds.curves == {
        name: [(at, value) for at in range(1, 51)] for name, value in (("step", 0.9), ("rendering", 0.3), ("guidance", 0.45))
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, 10**400, None, "0.3", True, [1]], ids=repr)
def test_what_is_no_number_that_can_be_drawn_has_no_point(value: Any, tmp_path: Path) -> None:
    lines = steps()
    lines[3]["residual"] = value
    residual, *_ = plots_of(lines)
    assert [place for place, _ in residual.curves["residual"]] == [at for at in range(1, 51) if at != 4]
    assert picture(drawn(tmp_path, lines)).shape == (PLOTS * HEIGHT, WIDTH, 3)


def test_the_same_log_gives_the_same_picture_and_another_one_another(tmp_path: Path) -> None:
    first = drawn(tmp_path, steps())
    assert drawn(tmp_path, steps()) == first
    other = steps()
    other[10]["faces"] = 3000.0
    apart = (picture(drawn(tmp_path, other)) != picture(first)).any(axis=(1, 2)).reshape(PLOTS, HEIGHT).any(axis=1)
    assert list(apart) == [False, True, False]


@pytest.mark.parametrize(
    "lines", [steps(1, 0), steps(0, 1), steps(3, 0), [{"stage": "coarse", "step": 1}]], ids=["one", "fine", "few", "bare"]
)
def test_a_short_log_is_drawn(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    assert picture(drawn(tmp_path, lines)).std() > 5


def test_damaged_lines_are_left_out_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = drawn(tmp_path, steps())
    assert not caplog.records
    assert drawn(tmp_path, steps(), b'{"stage": "fine", "st\n\xff\xfe\n') == whole
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "metrics.jsonl: 2 damaged lines are left out" in caplog.text


def missing(file: Path) -> None:
    """Leave no log."""


def empty(file: Path) -> None:
    file.write_bytes(b"")


def folder(file: Path) -> None:
    file.mkdir()


def broken(file: Path) -> None:
    file.write_bytes(b"\0" * 4096)


@pytest.mark.parametrize("make", [missing, empty, folder, broken])
def test_a_log_without_a_step_ends_a_run_without_the_picture(
    make: Callable[[Path], None], fitted: Path, delivered_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    (fitted / "metrics.jsonl").unlink()
    make(fitted / "metrics.jsonl")
    result = generate(CONFIG, fitted)
    assert "metrics.png" not in result.files
    assert not (fitted / "metrics.png").exists()
    assert "metrics.png is not drawn" in caplog.text
    assert generate(CONFIG, fitted) == result
