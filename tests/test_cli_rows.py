"""Rows of the audit that failed or were not measured are warnings; with --strict they are the exit code. The run is finished either way."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from smoke_runs import PROMPT

from dreamfusion_mesh import cli, pipeline
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.result import Result, file_record, read_result

GENERATE = ("generate", PROMPT, "--preset", "smoke", "--device", "cpu", "--seed", "3", "--out", "run")
EXPORT = ("export", "run")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """The command in this process, in the folder `tmp_path`: exit code, output, errors. An export gives what the folder holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "export", lambda run, config, report: read_result(RunFolder(run)))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dreamfusion-mesh", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture
def wrong(finished: Result, tmp_path: Path) -> Path:
    """A finished run, one row of whose audit failed and another of which was not measured."""
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    found = json.loads((folder / "audit.json").read_text())
    for row in found["rows"]:
        if row["number"] == 4:
            row |= {"status": "fail", "detail": "7 faces are covered twice"}
        if row["number"] == 6:
            row |= {"status": "not measured", "detail": "not measured: there is no texture"}
    (folder / "audit.json").write_text(json.dumps(found))
    record = json.loads((folder / "result.json").read_text())
    record["files"]["audit.json"] = file_record((folder / "audit.json").read_bytes())
    (folder / "result.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize("arguments", [GENERATE, EXPORT], ids=["generate", "export"])
@pytest.mark.parametrize(("more", "code"), [([], 0), (["--strict"], 1)], ids=["", "strict"])
def test_wrong_rows_are_warnings_and_strict_makes_them_the_exit_code(
    arguments: tuple[str, ...], more: list[str], code: int, call, wrong: Path
) -> None:
    before = {file: file.read_bytes() for file in wrong.rglob("*") if file.is_file()}
    found, output, errors = call(*arguments, *more)
    assert found == code
    assert errors.splitlines() == [
        "warning: audit row 4, UVs, failed: 7 faces are covered twice",
        "warning: audit row 6, texel density, not measured: there is no texture",
    ]
    assert "Already finished, in run:" in output
    assert {file: file.read_bytes() for file in wrong.rglob("*") if file.is_file()} == before


def test_a_run_whose_rows_all_pass_says_nothing_and_is_strict(call, gltf_validator: Path, finished: Result, tmp_path: Path) -> None:
    """Where the Khronos validator is installed: without it row 1 is not measured."""
    shutil.copytree(finished.folder, tmp_path / "run")
    assert {row.status for row in finished.audit.rows} == {"pass"}
    code, output, errors = call(*GENERATE, "--strict")
    assert (code, errors) == (0, "")
    assert "Already finished, in run:" in output
