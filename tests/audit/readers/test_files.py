"""No file is read but the one that is named and those beside it, and none without bounds."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from written_files import box

from dreamfusion_mesh.audit.readers import files as files_module
from dreamfusion_mesh.audit.readers.files import read_bytes, read_uri, sibling_path
from dreamfusion_mesh.errors import BadInput


def test_data_uris_and_files_beside_are_read(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a b.bin").write_bytes(b"beside")
    assert read_uri("maps/a%20b.bin", tmp_path, "here") == b"beside"
    assert read_uri("data:;base64," + base64.b64encode(b"inside").decode(), tmp_path, "here") == b"inside"


@pytest.mark.parametrize(
    "uri", ["../a", "/etc/passwd", "http://a/b", "file:///etc/passwd", "a/../../b", "%2e%2e/a", "C:\\a", "..\\a", "a\0b", ""]
)
def test_no_file_elsewhere_is_read(uri: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        read_uri(uri, tmp_path, "here")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (home / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match="not a file beside"):
        sibling_path("link", home, "here")


@pytest.mark.parametrize("uri", ["data:text/plain,hello", "data:;base64,@@@", "data:"])
def test_a_broken_data_uri_is_named(uri: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"here: a data: uri"):
        read_uri(uri, tmp_path, "here")


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = box(1).write(tmp_path)
    monkeypatch.setattr(files_module, "MAX_FILE_BYTES", 100)
    with pytest.raises(BadInput, match="more than the 100"):
        read_bytes(path)


@pytest.mark.parametrize("name", ["\ud800", "a\udc80b"])
def test_half_of_a_utf_16_pair_is_no_name_beside(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        read_uri(name, tmp_path, "here")


def test_a_pipe_beside_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(BadInput, match=r"pipe\.bin: is a pipe; name a regular file"):
        read_uri("pipe.bin", tmp_path, "here")
