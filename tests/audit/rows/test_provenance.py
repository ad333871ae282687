"""Row 15: what is not stated, and files that are not those that were written, are named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from complete_assets import FILES, complete, write_provenance

from dreamfusion_mesh.audit.row import Row
from dreamfusion_mesh.audit.rows.provenance import provenance_row

NOTES = {"prompt": "a box", "seed": 0, "model": {"model": "embedded", "licence": "MIT"}}


def row_of(path: Path, **notes: Any) -> Row:
    return provenance_row(path, hashlib.sha256(path.read_bytes()).hexdigest(), notes)


def test_a_whole_record_passes(tmp_path: Path) -> None:
    row = row_of(complete(tmp_path))
    assert (row.status, row.detail) == ("pass", "")
    assert row.measured == {"stated": 9, "files": 4}


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"prompt": None}, "prompt"),
        ({"seed": None}, "seed"),
        ({"settings": {}}, "settings"),
        ({"versions": None}, "versions"),
        ({"guidance": {"licence": "MIT"}}, "the model"),
        ({"guidance": {"model": "x", "licence": None, "licences": []}}, "the model's licence"),
        ({"guidance": "x", "prompt": ""}, "prompt, the model, the model's licence"),
        ({"rasterizer": {"name": "warp"}}, "the rasterizer's licence"),
        ({"rasterizer": None}, "the rasterizer, the rasterizer's licence"),
    ],
)
def test_what_is_not_stated_is_named(change: dict[str, Any], missing: str, tmp_path: Path) -> None:
    path = complete(tmp_path)
    write_provenance(tmp_path, list(FILES), **change)
    row = row_of(path)
    assert (row.status, row.detail) == ("fail", f"not stated: {missing}")


def test_the_files_own_notes_count(tmp_path: Path) -> None:
    path = complete(tmp_path)
    write_provenance(tmp_path, list(FILES), prompt=None, seed=None, guidance=None)
    assert row_of(path, **NOTES).status == "pass"
    (tmp_path / "provenance.json").unlink()
    assert row_of(path, **NOTES).detail == "not stated: settings, versions, the rasterizer, the rasterizer's licence, hashes of the files"
    assert row_of(path).status == "not measured"


def test_notes_that_state_nothing_of_the_origin_measure_nothing(tmp_path: Path) -> None:
    """As the stores for models write them."""
    path = complete(tmp_path)
    (tmp_path / "provenance.json").unlink()
    row = row_of(path, author="A", license="CC-BY-4.0", source="https://example.org", title="a box")
    assert (row.status, row.measured) == ("not measured", {})


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_or_is_missing_is_named(name: str, tmp_path: Path) -> None:
    path = complete(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"\0")
    assert row_of(path).detail == f"not as provenance.json lists them: '{name}'"
    if name != path.name:
        (tmp_path / name).unlink()
        assert row_of(path).detail == f"not as provenance.json lists them: '{name}'"


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path = complete(tmp_path / "below")
    (tmp_path / "secret").write_bytes(b"")
    record = json.loads((tmp_path / "below" / "provenance.json").read_text())
    for name in ("../secret", str(tmp_path / "secret"), ".hidden", "a\0b"):
        record["files"][name] = {"sha256": hashlib.sha256(b"").hexdigest()}
        (tmp_path / "below" / "provenance.json").write_text(json.dumps(record))
        assert row_of(path).status == "fail"
        del record["files"][name]


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"files": 3}', b'{"files": {"other.glb": {}}}', b"[" * 100_000, b"\xed\xa0\x80"])
def test_a_record_that_is_not_about_the_file_counts_as_none(text: bytes, tmp_path: Path) -> None:
    path = complete(tmp_path)
    (tmp_path / "provenance.json").write_bytes(text)
    assert row_of(path).status == "not measured"
