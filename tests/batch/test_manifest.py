"""The manifest: what was appended whole is read, whatever else happened to the file."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_folders import make_job, started

from dreamfusion_mesh.batch.entry import AUDITED, LONGEST_LINE, MOST_ATTEMPTS, Entry, entry_line
from dreamfusion_mesh.batch.manifest import Manifest, read_manifest
from dreamfusion_mesh.batch.records import Attempt
from dreamfusion_mesh.errors import BadInput

LETTERS = string.ascii_letters + string.digits + ' ",\\/{}[]\n\r\t\0\x7f\x85\u2028éß漢🙂'
FAILURES = ("bad input", "empty", "diverged", "audit", "error", "time limit", "crashed")


def text(draws: random.Random, longest: int) -> str:
    return "".join(draws.choices(LETTERS, k=draws.randrange(longest)))


def random_entry(draws: random.Random, name: str, longest: int = 200) -> Entry:
    status: Any = draws.choice(["started", "done", "failed"])
    return Entry(
        name=name,
        key=f"{draws.getrandbits(256):064x}",
        status=status,
        attempt=draws.randrange(MOST_ATTEMPTS),
        seed=draws.randrange(2**63),
        prompt=text(draws, longest),
        tags=tuple(text(draws, 10) for _ in range(draws.randrange(4))),
        steps=draws.randrange(2_000_000),
        failure=draws.choice(FAILURES) if status == "failed" else None,
        message=text(draws, longest),
        seconds=draws.choice([0.0, 3, draws.random() * 1e5]),
        triangles=draws.choice([None, 0, draws.randrange(10**9)]),
        audit=tuple(draws.choices(AUDITED, k=draws.choice([0, 8]))),
        warnings=draws.randrange(5),
        time="2026-11-27T18:20:25Z",
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path / "manifest.jsonl")


@pytest.fixture
def four(manifest: Manifest) -> list[Entry]:
    """The entries of a manifest."""
    draws = random.Random(4)
    entries = [random_entry(draws, name, longest=12) for name in "abcd"]
    manifest.append(entries)
    return entries


def named(*entries: Entry) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING):
        yield


def test_what_is_appended_is_read_the_latest_of_each_name(manifest: Manifest, caplog: pytest.LogCaptureFixture, no_fsync: None) -> None:
    draws, latest = random.Random(0), {}
    for _ in range(40):
        entries = [random_entry(draws, draws.choice(["mug", "Mug", "a cup", "grüße", "x" * 100])) for _ in range(draws.randrange(20))]
        manifest.append(entries)
        latest |= named(*entries)
        assert read_manifest(manifest.path) == manifest.recover() == latest
    assert len(latest) == 5
    assert not warned(caplog)


def test_each_call_appends_once_to_lines_that_other_programs_read(manifest: Manifest, four: list[Entry]) -> None:
    before = manifest.path.read_bytes()
    manifest.append([])
    assert manifest.path.read_bytes() == before
    manifest.append(four[:2])
    assert manifest.path.read_bytes().startswith(before)
    head, *lines = [json.loads(line) for line in manifest.path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert head["schema"] == 1
    assert head["kind"] == "batch manifest"
    assert head["generator"].startswith("dreamfusion_mesh ")
    assert [line["name"] for line in lines] == ["a", "b", "c", "d", "a", "b"]
    assert lines[0]["prompt"] == four[0].prompt


def test_no_manifest_has_no_entries_and_is_not_made(manifest: Manifest) -> None:
    assert read_manifest(manifest.path) == manifest.recover() == {}
    assert not list(manifest.path.parent.iterdir())


def test_cut_anywhere_in_its_last_two_lines_all_whole_entries_are_read(
    manifest: Manifest, four: list[Entry], caplog: pytest.LogCaptureFixture, no_fsync: None
) -> None:
    whole = manifest.path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[-3], len(whole) + 1):
        manifest.path.write_bytes(whole[:cut])
        left = named(*four[: sum(end <= cut for end in ends) - 1])
        assert read_manifest(manifest.path) == left
        assert manifest.path.read_bytes() == whole[:cut]
        assert manifest.recover() == left
        if cut % 7 == 0:  # what is appended then begins its own line
            manifest.append([four[0]])
            assert read_manifest(manifest.path) == left | named(four[0])
    assert [file.name for file in manifest.path.parent.iterdir()] == ["manifest.jsonl"]
    assert not warned(caplog)


def test_a_flipped_byte_in_the_middle_loses_no_other_line(manifest: Manifest, four: list[Entry], caplog: pytest.LogCaptureFixture) -> None:
    lines, draws = manifest.path.read_bytes().splitlines(keepends=True), random.Random(1)
    aside = manifest.path.with_name("manifest.broken.jsonl")
    broken = 0
    for _ in range(100):
        at = draws.randrange(len(lines[2]) - 1)
        flipped = bytearray(lines[2])
        flipped[at] ^= 1 << draws.randrange(8)
        manifest.path.write_bytes(b"".join([*lines[:2], bytes(flipped), *lines[3:]]))
        others = named(four[0], *four[2:])
        read = read_manifest(manifest.path)
        assert {name: read[name] for name in others} == others
        before = aside.read_bytes() if aside.exists() else b""
        caplog.clear()
        assert manifest.recover() == read == read_manifest(manifest.path)
        if len(read) == 3:  # and no bit of a number, or of a text, which make another entry
            broken += 1
            assert aside.read_bytes() == before + flipped
            assert manifest.path.read_bytes() == b"".join([*lines[:2], *lines[3:]])
            assert "manifest.jsonl" in warned(caplog)[0]
            assert "lines 3" in warned(caplog)[0] or "line 3 is broken" in warned(caplog)[0]
    assert broken > 20


def test_what_is_no_entry_is_a_broken_line(manifest: Manifest, four: list[Entry], caplog: Any) -> None:
    good = entry_line(four[0])[:-1]
    others = [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"a"',
        b"{}",
        b"[" * 100_000,
        b"1" * 5000,
        b"\0" * 9,
        b"\xff",
        good + b"x",
        good + good,
        b" " + good,
    ]
    others += [good[:-1] + b', "more": 1}', b"x" * (LONGEST_LINE + 5), b"x" * (LONGEST_LINE - 1) + good]
    whole = manifest.path.read_bytes()
    manifest.path.write_bytes(whole + b"\n".join([*others, b""]))
    assert read_manifest(manifest.path) == named(*four)
    assert "passed over" in warned(caplog)[0]
    assert manifest.recover() == named(*four)
    assert manifest.path.read_bytes() == whole
    assert manifest.path.with_name("manifest.broken.jsonl").read_bytes() == b"\n".join([*others, b""])
    assert f"lines 6, 7, 8, 9, 10 and {len(others) - 5} more are broken; kept in manifest.broken.jsonl" in warned(caplog)[1]


HEADS = [b"", b"{", b"{}", b"[]", b"name,prompt", b'{"schema": 1}', b'{"kind": "batch manifest"}', b"\xff\xfe", b"[" * 100_000]
HEADS += [b'{"schema": %s, "kind": "batch manifest"}' % schema for schema in (b"0", b"2", b"-1", b'"1"', b"true", b"1.0", b"null")]


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_a_first_line_that_is_not_a_manifests_is_refused_and_nothing_written(manifest: Manifest, four: list[Entry], head: bytes) -> None:
    rest = manifest.path.read_bytes().partition(b"\n")[2]
    for content in (head, head + b"\n", head + b"\n" + rest + b"torn"):
        manifest.path.write_bytes(content)
        for read in (read_manifest, lambda path: Manifest(path).recover()):
            with pytest.raises(BadInput, match=r"manifest\.jsonl: .*; .*name another folder, or move this file away"):
                read(manifest.path)
        assert manifest.path.read_bytes() == content
        assert [file.name for file in manifest.path.parent.iterdir()] == ["manifest.jsonl"]


def test_a_newer_schema_is_named(manifest: Manifest) -> None:
    manifest.path.write_bytes(b'{"schema": 2, "kind": "batch manifest"}\n')
    with pytest.raises(BadInput, match="is of schema 2, this version reads up to 1"):
        read_manifest(manifest.path)


def test_what_is_no_file_is_refused(manifest: Manifest) -> None:
    os.mkfifo(manifest.path)
    for read in (read_manifest, lambda path: Manifest(path).recover()):
        with pytest.raises(BadInput, match="is a pipe"):
            read(manifest.path)


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("is_new", [False, True])
def test_a_full_disk_leaves_no_half_line(call: str, is_new: bool, tmp_path: Path, four: list[Entry], monkeypatch: Any) -> None:
    manifest = Manifest(tmp_path / ("new" if is_new else "manifest.jsonl"))
    before = b"" if is_new else manifest.path.read_bytes()
    write, calls = os.write, []

    def full(descriptor: int, content: bytes = b"") -> int:
        calls.append(content)
        if call == "write" and len(calls) % 2:
            return write(descriptor, content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(BadInput, match="No space left on device") as raised:
            manifest.append(four)
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.ENOSPC
    if is_new:
        assert read_manifest(manifest.path) == {}
    else:
        assert manifest.path.read_bytes() == before
    manifest.append([started(Attempt(make_job()))])
    assert "mug" in read_manifest(manifest.path)


def test_lines_are_on_the_disk_when_append_returns(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, synced = os.fsync, []

    def recorded(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}") if os.path.isdir("/proc/self/fd") else str(descriptor))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    manifest.append([started(Attempt(make_job()))])
    folder = str(manifest.path.parent)
    if os.path.isdir("/proc/self/fd"):
        assert synced[1:] == [folder, f"{folder}/manifest.jsonl"]
    assert len(synced) == 3  # the first line, the folder, the entries
    manifest.append([started(Attempt(make_job()))])
    assert len(synced) == 4
