"""Files are written whole or not at all, through links; what is no regular file is written to and never replaced."""

from __future__ import annotations

import errno
import os
import re
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from privileges import file_size_limit, permissions_hold, umask

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import append_file, cannot_write, move_file, remove_file, sync_folder, write_file
from dreamfusion_mesh.files.kinds import refuse_targets

CONTENT = b"content" * 1000


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put(how: str, folder: Path, path: Path) -> None:
    """CONTENT at `path`, by each way that puts a file in its place."""
    if how == "write":
        write_file(path, CONTENT)
    else:
        (folder / "staged").write_bytes(CONTENT)
        move_file(folder / "staged", path)
        assert not (folder / "staged").exists()


@pytest.mark.parametrize("how", ["write", "move"])
def test_links_are_followed_to_the_file_that_they_name(how: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "old").write_bytes(b"old")
    for name, target in (("first", "second"), ("second", "elsewhere/old"), ("dangling", "elsewhere/new/deep")):
        (tmp_path / name).symlink_to(target)
    put(how, tmp_path, tmp_path / "first")
    put(how, tmp_path, tmp_path / "dangling")
    assert [os.readlink(tmp_path / name) for name in ("first", "second", "dangling")] == ["second", "elsewhere/old", "elsewhere/new/deep"]
    assert (tmp_path / "elsewhere" / "old").read_bytes() == (tmp_path / "elsewhere" / "new" / "deep").read_bytes() == CONTENT
    assert names(tmp_path / "elsewhere") == ["new", "old"]


def test_a_link_to_another_file_system_is_copied_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other disk").mkdir()
    (tmp_path / "link").symlink_to("other disk/file")
    replace = os.replace

    def replacing(source: Path, target: Path) -> None:
        if source.parent != target.parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replacing)
    put("move", tmp_path, tmp_path / "link")
    assert (tmp_path / "other disk" / "file").read_bytes() == CONTENT
    assert names(tmp_path / "other disk") == ["file"]
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("how", ["write", "move"])
@pytest.mark.parametrize("way", ["itself", "a link"])
def test_a_device_is_written_to(how: str, way: str, terminal: tuple[Path, int], tmp_path: Path) -> None:
    device, other = terminal
    (tmp_path / "link").symlink_to(device)
    before, received = device.stat(), []
    reader = threading.Thread(target=lambda: received.append(os.read(other, 7)))
    reader.start()
    if how == "write":
        write_file(device if way == "itself" else tmp_path / "link", b"content")
    else:
        (tmp_path / "staged").write_bytes(b"content")
        move_file(tmp_path / "staged", device if way == "itself" else tmp_path / "link")
    reader.join(20)
    assert received == [b"content"]
    assert os.path.samestat(device.stat(), before)
    assert names(tmp_path) == ["link"]


def test_a_pipe_is_written_to_and_one_without_a_reader_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for write in (write_file, append_file):
        with pytest.raises(BadInput, match=r"pipe: cannot be written \(.*a pipe that no process reads\); start the reader first"):
            write(tmp_path / "pipe", CONTENT)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    while not received:  # until the reader has opened it
        try:
            write_file(tmp_path / "pipe", CONTENT * 30)  # more than a pipe holds
        except BadInput:
            continue
        reader.join(20)
    assert received == [CONTENT * 30]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("by", ["/dev/stdout", "out.txt"])
@pytest.mark.parametrize("to", ["a file", "a pipe"])
def test_the_own_output_keeps_what_was_printed_before_and_after(by: str, to: str, tmp_path: Path) -> None:
    code = f"from dreamfusion_mesh.files import write_file\nprint('before')\nwrite_file({by!r}, b'JSON\\n')\nprint('after')"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with (tmp_path / "out.txt").open("wb") as file:
        out = file if to == "a file" else subprocess.PIPE
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, timeout=60)
    assert done.stderr == b""
    found = (tmp_path / "out.txt").read_bytes() if to == "a file" else done.stdout
    assert found == (b"before\nafter\n" if (by, to) == ("out.txt", "a pipe") else b"before\nJSON\nafter\n")
    assert names(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("kind", ["folder", "socket"])
def test_what_takes_no_bytes_is_refused(kind: str, others: dict[str, Path]) -> None:
    with pytest.raises(BadInput, match=f"is a {kind}; name a file"):
        write_file(others[kind], CONTENT)
    assert others[kind].exists()


def test_a_disk_is_never_written_to() -> None:
    found = os.stat_result((stat.S_IFBLK | 0o660, *[0] * 9))
    with pytest.raises(BadInput, match="sda: is a disk; name a file"):
        refuse_targets(found, "sda", None)


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_all_files_and_folders_have_the_permissions_that_the_umask_leaves(mask: int, tmp_path: Path) -> None:
    with umask(mask):
        write_file(tmp_path / "deep" / "written", CONTENT)
        append_file(tmp_path / "appended", CONTENT)
        write_file(tmp_path / "staged", CONTENT)
        move_file(tmp_path / "staged", tmp_path / "made" / "moved")
    files = [tmp_path / "deep" / "written", tmp_path / "appended", tmp_path / "made" / "moved"]
    assert {mode(file) for file in files} == {0o666 & ~mask}
    assert {mode(tmp_path / folder) for folder in ("deep", "made")} == {0o777 & ~mask}


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path: Path) -> None:
    name = "ä" * 127  # 254 bytes
    write_file(tmp_path / name, CONTENT)
    assert (tmp_path / name).read_bytes() == CONTENT


def test_a_limit_of_open_files_is_named(tmp_path: Path) -> None:
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    message = rf"cannot be written \(Too many open files: this shell lets a process have {limit}\); raise that limit with `ulimit -n`"
    assert re.search(message, str(cannot_write(tmp_path / "a", error)))


def test_a_file_size_limit_leaves_the_old_file_and_names_the_limit(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    with file_size_limit(1000):
        for name in ("old", "deep/new"):
            message = (
                r"cannot be written \(File too large: this shell lets files have 1000 bytes\); raise that limit with `ulimit -f unlimited`"
            )
            with pytest.raises(BadInput, match=message):
                write_file(tmp_path / name, CONTENT)
        append_file(tmp_path / "old", b"line\n")
        with pytest.raises(BadInput, match="raise that limit"):
            append_file(tmp_path / "old", CONTENT)
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"oldline\n"


def test_blocks_are_written_as_they_come_and_whole_or_not_at_all(tmp_path: Path) -> None:
    def blocks(last: int) -> Iterator[bytes]:
        yield from (b"one", b"", b"two")
        yield b"%d" % (1 // last)

    write_file(tmp_path / "file", blocks(1))
    assert (tmp_path / "file").read_bytes() == b"onetwo1"
    with pytest.raises(ZeroDivisionError):
        write_file(tmp_path / "file", blocks(0))
    assert (tmp_path / "file").read_bytes() == b"onetwo1"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("durable", [False, True])
def test_whatever_ends_appending_leaves_no_half_line(durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, fsync = os.write, os.fsync
    synced: list[int] = []

    def stopped(descriptor: int, content: bytes) -> int:
        write(descriptor, content[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(fsync(descriptor) or descriptor))
    append_file(tmp_path / "file", b"line\n", durable=durable)
    assert bool(synced) == durable
    monkeypatch.setattr(os, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        append_file(tmp_path / "file", b"line\n", durable=durable)
    assert (tmp_path / "file").read_bytes() == b"line\n"


def test_a_folder_is_flushed_where_its_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_folder(tmp_path)
    with pytest.raises(BadInput, match="missing: cannot be written"):
        sync_folder(tmp_path / "missing")

    def failing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    number = errno.EINVAL
    sync_folder(tmp_path)
    number = errno.EIO
    with pytest.raises(BadInput, match="Input/output error"):
        sync_folder(tmp_path)


def test_without_a_limit_a_file_too_large_is_one_for_its_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="too large for its disk's file system"):
        write_file(tmp_path / "file", CONTENT)
    assert names(tmp_path) == []


def test_folders_that_cannot_be_written_are_named(closed: Path, read_only: Path) -> None:
    for path in (closed / "file", closed / "new" / "file"):
        with pytest.raises(BadInput, match=f"may not enter the folder {closed}"):
            write_file(path, CONTENT)
    for path in (read_only / "file", read_only / "new", read_only / "deep" / "new"):
        with pytest.raises(BadInput, match=f"may not write in the folder {read_only}"):
            write_file(path, CONTENT)
    with pytest.raises(BadInput, match=f"may not write in the folder {read_only}"):
        remove_file(read_only / "file")
    assert (read_only / "file").read_bytes() == b"content"


def test_a_file_that_may_not_be_written_is_not_laid_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "file").chmod(0o400)
    with permissions_hold(), pytest.raises(BadInput, match=r"cannot be written \(you may not write it\); change its permissions"):
        append_file(tmp_path / "file", b"line\n")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(BadInput, match=r"file is a file, not a folder"):
        write_file(tmp_path / "file" / "below", CONTENT)
    write_file(tmp_path / "link" / "below", CONTENT)
    assert (tmp_path / "nowhere" / "below").read_bytes() == CONTENT


def test_removing_a_link_leaves_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    remove_file(tmp_path / "link")
    remove_file(tmp_path / "none")
    assert names(tmp_path) == ["file"]
