"""Row 1 is the Khronos validator's verdict, and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from broken_files import BROKEN, INVALID, document, measure
from written_files import box, png

from dreamfusion_mesh.audit import khronos, node
from dreamfusion_mesh.audit.khronos import VALIDATOR_VARIABLE, khronos_report
from dreamfusion_mesh.audit.rows.validity import validity_row


@pytest.mark.usefixtures("gltf_validator")
def test_a_sound_file_has_neither_errors_nor_warnings(tmp_path: Path) -> None:
    row = validity_row(box().write(tmp_path))
    assert (row.status, row.measured, row.detail) == ("pass", {"errors": 0, "warnings": 0}, "")


@pytest.mark.usefixtures("gltf_validator")
@pytest.mark.parametrize("name", INVALID)
def test_what_the_validator_finds_fails_the_row(name: str, tmp_path: Path) -> None:
    row = validity_row(INVALID[name][0].write(tmp_path))
    assert row.status == "fail"
    assert int(row.measured["errors"]) + int(row.measured["warnings"]) > 0
    assert row.detail


@pytest.mark.usefixtures("gltf_validator")
@pytest.mark.parametrize("name", ["a missing face", "a chart outside", "no roughness", "another size"])
def test_what_other_rows_find_does_not(name: str, tmp_path: Path) -> None:
    assert validity_row(BROKEN[name][0].write(tmp_path)).status == "pass"


@pytest.mark.usefixtures("gltf_validator")
def test_what_our_reader_does_not_read_does_not(tmp_path: Path) -> None:
    """Lines are valid glTF, and an extension that is required is none of the validator's business."""
    lines = document(lambda whole: whole["meshes"][0]["primitives"][0].update(mode=1))
    assert validity_row(lines.write(tmp_path)).status == "pass"
    required = document(lambda whole: whole.update(extensionsRequired=["ACME_shape"], extensionsUsed=["ACME_shape"]))
    assert validity_row(required.write(tmp_path)).status == "pass"


@pytest.mark.usefixtures("gltf_validator")
def test_a_warning_alone_fails_the_row(tmp_path: Path) -> None:
    """A property that the specification does not know: no error, nothing that other rows mind."""
    found = measure(replace(box(), change=lambda document: document.update(colour=1)).write(tmp_path))
    assert (found.rows[0].status, found.rows[0].measured) == ("fail", {"errors": 0, "warnings": 1})
    assert found.rows[0].detail == "UNEXPECTED_PROPERTY /colour"
    assert not {row.number for row in found.rows[1:] if row.status == "fail"}


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
    monkeypatch.setattr(node.shutil, "which", lambda name: None)
    row = validity_row(box().write(tmp_path))
    assert row.status == "not measured"
    assert row.detail == "not measured: the Khronos validator was not found (npm install -g gltf-validator)"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for node is a shell script")
@pytest.mark.parametrize(
    ("body", "words"), [("sleep 9", "no answer within"), ("echo oops >&2; exit 3", "oops"), ("echo no json", "did not run")]
)
def test_a_validator_that_does_not_answer_measures_nothing(body: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "node_modules" / "gltf-validator"
    package.mkdir(parents=True)
    (package / "package.json").write_text("{}")
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\nexec 9>&-\n{body}\n".replace("sleep 9", "exec sleep 9"))
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv(VALIDATOR_VARIABLE, str(tmp_path))
    monkeypatch.setattr(khronos, "VALIDATOR_SECONDS", 0.5)
    row = validity_row(replace(box(), image=png()).write(tmp_path))
    assert row.status == "not measured"
    assert words in row.detail
