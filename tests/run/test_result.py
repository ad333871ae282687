"""result.json, and the files it lists, are read as what others may have written: nothing in them ends a run or leads out of its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from smoke_runs import CONFIG

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import open_file
from dreamfusion_mesh.pipeline import export, generate
from dreamfusion_mesh.run import result
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.result import file_record, read_result

BROKEN = [
    b"",
    b"[]",
    b"{}",
    b"3",
    b"{",
    b"\xff\xfe{}",
    b"\0" * 100,
    b"[" * 100_000,
    b'{"a": ' * 100_000,
    b'{"schema": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize(
    "content",
    [*BROKEN, b'{"schema": 1}', b'{"schema": 1, "files": 3}', b'{"schema": 1, "files": {"run.yaml": 1, "audit.json": 2}}'],
    ids=lambda content: repr(content[:20]),
)
def test_a_broken_result_is_no_result(content: bytes, fitted: Path) -> None:
    (fitted / "result.json").write_bytes(content)
    assert read_result(RunFolder(fitted)) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe{}", b"[" * 100_000], ids=lambda content: repr(content[:20]))
@pytest.mark.parametrize("name", ["provenance.json", "audit.json", "result.json"])
def test_a_broken_file_is_made_again(name: str, content: bytes, fitted: Path, delivered_once: None) -> None:
    generate(CONFIG, fitted)
    (fitted / name).write_bytes(content)
    for work in (lambda: generate(CONFIG, fitted), lambda: export(fitted)):
        assert work() == read_result(RunFolder(fitted))
        (fitted / name).write_bytes(content)


@pytest.mark.parametrize("name", ["provenance.json", "audit.json", "result.json"])
def test_a_fifo_in_place_of_a_file_is_not_waited_for(name: str, fitted: Path, delivered_once: None) -> None:
    generate(CONFIG, fitted)
    (fitted / name).unlink()
    os.mkfifo(fitted / name)
    with pytest.raises(BadInput, match=rf"{name}: is a pipe, not a file; delete it"):
        generate(CONFIG, fitted)
    (fitted / name).unlink()
    assert generate(CONFIG, fitted) == read_result(RunFolder(fitted))


def edit(folder: Path, **values: Any) -> None:
    """Change result.json by hand."""
    record = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**record, **values}))


@pytest.mark.parametrize("values", [{"warnings": 3}, {"warnings": "all"}, {"warnings": [3]}, {"warnings": None}, {"files": []}])
def test_a_result_with_wrong_values_is_written_again(values: dict[str, Any], fitted: Path, delivered_once: None) -> None:
    first = generate(CONFIG, fitted)
    edit(fitted, **values)
    assert read_result(RunFolder(fitted)) is None
    assert generate(CONFIG, fitted) == first == read_result(RunFolder(fitted))


@pytest.mark.parametrize(
    "rows",
    [3, [3], [{}], [{"number": 1, "property": "x", "status": "good", "measured": {}, "detail": ""}]]
    + [[{"number": 1, "property": "x", "status": "pass", "measured": wrong, "detail": ""}] for wrong in ([1], {"a": [1]}, None)],
)
def test_an_audit_with_wrong_values_is_made_again_though_its_hash_was_adapted(rows: Any, fitted: Path, delivered_once: None) -> None:
    first = generate(CONFIG, fitted)
    content = json.dumps({**json.loads((fitted / "audit.json").read_text()), "rows": rows}).encode()
    (fitted / "audit.json").write_bytes(content)
    edit(fitted, files={**json.loads((fitted / "result.json").read_text())["files"], "audit.json": file_record(content)})
    assert generate(CONFIG, fitted) == first


@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "{folder}/outside.txt",
        "/dev/zero",
        "checkpoints/../../outside.txt",
        "..",
        ".",
        "",
        "checkpoints",
        "a\0b",
        "x" * 300,
    ],
)
def test_a_result_that_names_what_is_not_the_runs_reads_and_removes_nothing_else(
    name: str, fitted: Path, delivered_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, outside = generate(CONFIG, fitted), fitted.parent / "outside.txt"
    outside.write_bytes(b"not of the folder")
    files = json.loads((fitted / "result.json").read_text())["files"]
    for recorded in (file_record(b"not of the folder"), {"sha256": "0" * 64, "bytes": 10**40}):
        edit(fitted, files={**files, name.format(folder=fitted.parent): recorded})
        with monkeypatch.context() as patch:
            patch.setattr(result, "open_file", only_below(fitted, open_file))
            assert read_result(RunFolder(fitted)) is None
            assert export(fitted) == first
        assert outside.read_bytes() == b"not of the folder"


def only_below(folder: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of a path, refusing one outside the folder."""

    def called(path: Path, *arguments: Any, **named: Any) -> Any:
        assert path.resolve().is_relative_to(folder), path
        return function(path, *arguments, **named)

    return called


def test_a_file_of_the_users_that_result_json_was_made_to_list_is_not_removed(fitted: Path, delivered_once: None) -> None:
    generate(CONFIG, fitted)
    (fitted / "mine.txt").write_bytes(b"years of work")
    files = json.loads((fitted / "result.json").read_text())["files"]
    edit(fitted, files={**files, "mine.txt": {"sha256": "0" * 64, "bytes": 13}})
    export(fitted)
    assert (fitted / "mine.txt").read_bytes() == b"years of work"
