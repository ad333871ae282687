"""The Khronos validator's verdict beside our own, and what the row states where it has none."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from broken_files import BROKEN, measure
from written_files import box, png

from dreamfusion_mesh.audit import khronos
from dreamfusion_mesh.audit.khronos import VALIDATOR_VARIABLE, khronos_report
from dreamfusion_mesh.audit.row import Row

FOUND_BY_BOTH = (
    "bounds that the positions do not have",
    "no bounds on the positions",
    "an index past the vertices",
    "an accessor past its bytes",
    "an accessor off its boundary",
    "normals that are not unit",
    "an infinite position",
    "a texture of no image",
    "no version",
    "a node that is its own child",
)


def first(path: Path) -> Row:
    return measure(path).rows[0]


@pytest.mark.usefixtures("gltf_validator")
def test_a_sound_file_has_neither_errors_nor_warnings(tmp_path: Path) -> None:
    row = first(box().write(tmp_path))
    assert (row.status, row.measured) == ("pass", {"problems": 0, "errors": 0, "warnings": 0})
    assert "own checks and the Khronos validator" in row.detail


@pytest.mark.usefixtures("gltf_validator")
@pytest.mark.parametrize("name", FOUND_BY_BOTH)
def test_our_own_checks_agree_with_the_validator(name: str, tmp_path: Path) -> None:
    row = first(BROKEN[name][0].write(tmp_path))
    assert row.status == "fail"
    assert "Khronos: " in row.detail
    assert int(row.measured["errors"]) > 0
    assert any(not part.startswith("Khronos: ") for part in row.detail.split("; ")[:-1])


@pytest.mark.usefixtures("gltf_validator")
def test_a_warning_alone_fails_the_row(tmp_path: Path) -> None:
    """A property that the specification does not know: no error, nothing that our own checks mind."""
    row = first(replace(box(), change=lambda document: document.update(colour=1)).write(tmp_path))
    assert (row.status, row.measured) == ("fail", {"problems": 0, "errors": 0, "warnings": 1})
    assert "Khronos: UNEXPECTED_PROPERTY /colour" in row.detail


def test_the_validator_reads_files_beside_a_gltf_and_no_others(gltf_validator: Path, tmp_path: Path) -> None:
    document, binary = box().document_and_binary()
    (tmp_path / "outside.bin").write_bytes(binary)
    home = tmp_path / "home"
    home.mkdir()
    (home / "inside.bin").write_bytes(binary)
    for uri, errors in (("inside.bin", 0), ("../outside.bin", 1)):
        document["buffers"][0]["uri"] = uri
        (home / "asset.gltf").write_text(json.dumps(document))
        assert (khronos_report(home / "asset.gltf", gltf_validator)[0] > 0) == bool(errors)


def test_the_validator_does_not_wait_for_a_pipe(gltf_validator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = box().document_and_binary()[0]
    document["buffers"][0]["uri"] = "pipe.bin"
    (tmp_path / "asset.gltf").write_text(json.dumps(document))
    os.mkfifo(tmp_path / "pipe.bin")
    monkeypatch.setattr(khronos, "VALIDATOR_SECONDS", 60)
    assert khronos_report(tmp_path / "asset.gltf", gltf_validator)[0] > 0


def test_without_the_validator_the_row_states_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VALIDATOR_VARIABLE, raising=False)
    monkeypatch.setattr(khronos.shutil, "which", lambda name: None)
    row = first(box().write(tmp_path))
    assert row.status == "pass"
    assert row.detail == "own checks alone; the Khronos validator was not found"
    assert set(row.measured) == {"problems"}


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for node is a shell script")
@pytest.mark.parametrize(
    ("body", "words"), [("sleep 9", "no answer within"), ("echo oops >&2; exit 3", "oops"), ("echo no json", "did not run")]
)
def test_a_validator_that_does_not_answer_fails_the_row(body: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "node_modules" / "gltf-validator"
    package.mkdir(parents=True)
    (package / "package.json").write_text("{}")
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\nexec 9>&-\n{body}\n".replace("sleep 9", "exec sleep 9"))
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv(VALIDATOR_VARIABLE, str(tmp_path))
    monkeypatch.setattr(khronos, "VALIDATOR_SECONDS", 0.5)
    row = first(replace(box(), image=png()).write(tmp_path))
    assert row.status == "fail"
    assert words in row.detail
