"""Which settings a file is audited with: those of the run that wrote it, and of no other run.yaml that lies beside it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from dreamfusion_mesh.audit.report import Audit
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.audit_file import audit_file
from dreamfusion_mesh.run.result import Result


@pytest.fixture
def folder(finished: Result, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return shutil.copytree(finished.folder, tmp_path / "run")


def budget(found: Audit) -> dict[str, object]:
    """What row 3 measured: the triangles allowed are 1000 in the run and 10000 in the default preset."""
    return next(dict(row.measured) for row in found.rows if row.number == 3)


FOREIGN = {
    "name: ci\non: [push]\njobs: {}\n": "is another program's (it holds 'name', ",
    "- a\n- b\n": "is not of a run (expected settings, name: value; found list)",
    "a: [1\n": "not valid YAML (",
    "": "is not of a run",
    "[" * 3000: "more than 20 levels",
}


@pytest.mark.parametrize("text", FOREIGN, ids=lambda text: repr(text[:12]))
def test_a_file_beside_a_foreign_run_yaml_is_audited_with_the_default_preset_and_a_warning(
    text: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(folder / "asset.glb", tmp_path / "model.glb")
    alone = audit_file(tmp_path / "model.glb")
    assert not caplog.records
    (tmp_path / "run.yaml").write_text(text)
    assert audit_file(tmp_path / "model.glb") == alone
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    line = record.getMessage()
    assert line.startswith(f"{tmp_path / 'run.yaml'}: {FOREIGN[text]}")
    assert line.endswith("; model.glb is audited with the preset 'default', name another with --preset")
    assert "\n" not in line
    assert budget(alone)["allowed"] == 10_000


def test_a_named_preset_needs_no_run_yaml(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "run.yaml").write_text("name: ci\n")
    assert budget(audit_file(folder / "asset.glb", "smoke"))["allowed"] == 1000
    assert not caplog.records


def test_only_files_that_the_run_wrote_are_compared_with_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = budget(audit_file(folder / "asset.obj"))
    assert own["allowed"] == 1000
    assert isinstance(own["hausdorff"], float)
    assert not caplog.records
    shutil.copy(folder / "asset.glb", folder / "mine.glb")
    assert budget(audit_file(folder / "mine.glb")) == {"triangles": own["triangles"], "allowed": 10_000, "hausdorff": "not measured"}
    reason = "is of a run that did not write mine.glb (result.json does not list it)"
    assert f"{folder / 'run.yaml'}: {reason}; mine.glb is audited with the preset 'default', name another with --preset" in caplog.text


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"schema": 1, "files": 3}', "[" * 100_000])
def test_without_a_list_of_its_files_a_run_wrote_the_asset(text: str | None, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As between the files of a delivery and its result.json."""
    (folder / "result.json").unlink()
    if text is not None:
        (folder / "result.json").write_text(text)
    shutil.copy(folder / "asset.glb", folder / "mine.glb")
    assert budget(audit_file(folder / "asset.glb"))["allowed"] == 1000
    assert not caplog.records
    assert budget(audit_file(folder / "mine.glb"))["allowed"] == 10_000
    assert "did not write mine.glb" in caplog.text


def test_a_wrong_setting_in_the_runs_own_settings_is_named(folder: Path) -> None:
    (folder / "run.yaml").write_text((folder / "run.yaml").read_text().replace("hausdorff:", "housdorff:"))
    with pytest.raises(BadInput, match=r"audit\.housdorff: unknown setting; did you mean 'hausdorff'"):
        audit_file(folder / "asset.glb")


def test_settings_of_a_run_that_did_not_write_the_file_are_not_read(folder: Path) -> None:
    (folder / "run.yaml").write_text((folder / "run.yaml").read_text().replace("schema: 1", "schema: 7"))
    shutil.copy(folder / "asset.glb", folder / "mine.glb")
    assert budget(audit_file(folder / "mine.glb"))["allowed"] == 10_000
    with pytest.raises(BadInput, match="is of schema 7"):
        audit_file(folder / "asset.glb")


def test_a_file_that_is_missing_is_named_and_nothing_else(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.glb"):
        audit_file(folder / "nowhere.glb")
    assert not caplog.records
