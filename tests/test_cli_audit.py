"""`audit` of a file that is not ours: exit codes, strictness, engines, and what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended, caller, check_refused
from complete_assets import complete
from written_files import box

from dreamfusion_mesh.audit.picture import is_audit_picture
from dreamfusion_mesh.audit.rows import validity


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process, in the folder `tmp_path`; no validator is installed."""
    monkeypatch.setattr(validity, "find_validator", lambda: None)
    return caller(monkeypatch, capfd, tmp_path)


def test_rows_that_are_not_measured_fail_under_strict_alone(command: Callable[..., Ended], tmp_path: Path) -> None:
    complete(tmp_path)
    for options, code in (((), 0), (("--strict",), 1)):
        ended = command("audit", "asset.glb", *options)
        assert (ended.returncode, ended.stderr) == (code, "")
        assert len(ended.stdout.splitlines()) == 16
        assert ended.stdout.endswith("14 of 15 rows passed, 0 failed, 1 not measured\n")


def test_a_failed_row_fails_and_report_and_picture_are_written(command: Callable[..., Ended], tmp_path: Path) -> None:
    complete(tmp_path)
    ended = command("audit", "asset.glb", "--set", "mesh.triangles=1000", "--json", "found.json", "--picture", "new/found.png")
    assert (ended.returncode, ended.stderr) == (1, "")
    report = json.loads((tmp_path / "found.json").read_text())
    assert (report["schema"], report["passed"], len(report["rows"])) == (2, False, 15)
    assert is_audit_picture((tmp_path / "new" / "found.png").read_bytes())


def test_the_engine_says_how_hulls_are_named(command: Callable[..., Ended], tmp_path: Path) -> None:
    """A second box, named as Unreal's hulls are: a collision hull there, and a part of the surface elsewhere."""

    def change(document: dict) -> None:
        document["nodes"].append({"mesh": 0, "name": "UCX_box_01"})
        document["scenes"][0]["nodes"] = [0, 1]

    draft = box(1)
    draft.change = change
    draft.write(tmp_path)
    assert " 3  budget         pass          triangles 12," in command("audit", "asset.glb", "--engine", "unreal").stdout
    assert " 3  budget         pass          triangles 24," in command("audit", "asset.glb").stdout
    refused = command("audit", "asset.glb", "--engine", "quake", "--picture", "found.png")
    check_refused(refused, "asset.engine: expected one of generic, unreal, unity, godot (given 'quake')")
    assert not (tmp_path / "found.png").exists()


@pytest.mark.parametrize("target", ["asset.glb", "asset_LOD1.glb", "provenance.json", "texture.png", "."])
def test_a_picture_that_would_destroy_something_is_refused_before_the_work(
    target: str, command: Callable[..., Ended], tmp_path: Path
) -> None:
    complete(tmp_path)
    (tmp_path / "texture.png").write_bytes(box(1).image)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    check_refused(command("audit", "asset.glb", "--picture", target), f"--picture {Path(target)}: is ")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
