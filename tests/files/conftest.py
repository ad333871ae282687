"""Places where files cannot be read or written as they usually are."""

from __future__ import annotations

import os
import pty
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from privileges import permissions_hold


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be entered; it holds `file`."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    folder.chmod(0o600)
    with permissions_hold():
        yield folder
    folder.chmod(0o700)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing may be made; it holds `file`."""
    folder = tmp_path / "read only"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    folder.chmod(0o500)
    with permissions_hold():
        yield folder
    folder.chmod(0o700)


@pytest.fixture
def terminal() -> Iterator[tuple[Path, int]]:
    """A device: the path of a terminal, and the descriptor of its other end."""
    other, own = pty.openpty()
    yield Path(os.ttyname(own)), other
    os.close(own)
    os.close(other)


@pytest.fixture
def others(tmp_path: Path, terminal: tuple[Path, int]) -> Iterator[dict[str, Path]]:
    """What is no regular file, by the word that messages have for it."""
    paths = {kind: tmp_path / f"a {kind}" for kind in ("folder", "pipe", "socket", "device")}
    paths["folder"].mkdir()
    os.mkfifo(paths["pipe"])
    paths["device"].symlink_to(terminal[0])
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(tmp_path)  # the address of a socket has to be short
        listening.bind("a socket")
        os.chdir(before)
        yield paths
