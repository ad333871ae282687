"""Only regular files are read, without waiting, and what bars one is named by its true cause."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from privileges import permissions_hold

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import MissingFile, is_file, kind_of, read_bytes, read_text


def refusal(path: Path | str, name: str | None = None) -> str:
    """The one line with which `path` is refused, by all that looks at it."""
    with pytest.raises(BadInput) as caught:
        read_bytes(path, name=name)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 4096, 5_000_000])
def test_a_file_is_read_whole(size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert read_bytes(tmp_path / "file", limit=size) == b"x" * size
    assert is_file(tmp_path / "file")


def test_a_file_that_states_no_size_is_read_whole_and_within_the_limit(tmp_path: Path) -> None:
    found = Path("/proc/self/limits")
    if not found.exists():
        found = tmp_path / "limits"
        found.write_text("Max open files")
    assert b"Max open files" in read_bytes(found)
    with pytest.raises(BadInput, match="more than the 5 that are read"):
        read_bytes(found, limit=5)


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, others: dict[str, Path]) -> None:
    assert kind_of(others[kind]) == kind
    assert refusal(others[kind]) == f"{others[kind]}: is a {kind}; name a regular file"
    assert refusal(others[kind], "preset 'x'") == f"preset 'x': is a {kind}; name a regular file"


def test_a_pipe_that_took_the_place_of_a_file_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "file")
    monkeypatch.setattr("dreamfusion_mesh.files.read.kind_of", lambda path, name: "file")
    assert "is a pipe" in refusal(tmp_path / "file")


def test_a_folder_that_may_not_be_entered_is_named(closed: Path) -> None:
    for path in (closed / "file", closed / "deep" / "file"):
        assert refusal(path) == (
            f"{path}: cannot be read (you may not enter the folder {closed}); change its permissions, or name another place"
        )
        with pytest.raises(BadInput, match="may not enter"):
            is_file(path)


def test_a_closed_folder_behind_a_link_is_named_by_its_own_path(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(closed / "file")
    assert f"you may not enter the folder {closed})" in refusal(tmp_path / "link")


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "file").chmod(0)
    with permissions_hold():
        assert "cannot be read (you may not read it); change its permissions" in refusal(tmp_path / "file")
        assert is_file(tmp_path / "file")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("nowhere")
    causes = {
        tmp_path / "none": "No such file",
        tmp_path / "none" / "deep" / "x": f"there is no folder {tmp_path}/none)",
        tmp_path / "file" / "x": f"{tmp_path}/file is a file, not a folder",
        tmp_path / "link": f"{tmp_path}/link is a link to nowhere, which is missing",
    }
    for path, cause in causes.items():
        assert cause in refusal(path)
        assert kind_of(path) == ""
        with pytest.raises(MissingFile):
            read_bytes(path)


def test_a_circle_of_links_and_a_name_too_long_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "symbolic links" in refusal(tmp_path / "a")
    message = refusal(tmp_path / ("x" * 300))
    assert re.search(r"cannot be read \(File name too long: 300 bytes in one of its names, \d+ in all\); name a shorter one", message)
    assert len(message) < 500


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (os.fsdecode(b"caf\xe9.glb"), r"caf\xe9.glb: the path caf\xe9.glb is not UTF-8; rename it"),
        ("a\ud800b", r"a\ud800b: the path a\ud800b is not UTF-8; rename it"),
        ("a\0b", r"a\x00b: the path holds a NUL character; name another"),
    ],
)
def test_a_path_that_is_no_text_is_refused(path: str, message: str) -> None:
    assert refusal(path) == message
    assert refusal(path, "--out x") == f"--out x: {message.partition(': ')[2]}"
    with pytest.raises(BadInput, match="the path"):
        kind_of(path)


def test_the_working_folder_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "the folder that this command runs in is gone" in refusal("x.glb")


def test_text_is_read_as_editors_leave_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(tmp_path / "a") == "a\nb\nc\n"
    (tmp_path / "a").write_bytes(b"abc\xff")
    with pytest.raises(BadInput, match=r"a: cannot be read \(byte 3 is not UTF-8 text\); write it as UTF-8"):
        read_text(tmp_path / "a")
