"""Writing a file: whole or not at all where it is a regular one, through links; to anything else that is there, which is never replaced."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dreamfusion_mesh.files.kinds import look_up, refuse_targets
from dreamfusion_mesh.files.messages import PathLike, cannot_write, check_path
from dreamfusion_mesh.files.read import BINARY, BLOCK, NO_WAITING, read_bytes

NEW_FILE = 0o666  # less what the umask takes away, as in every other program
PARTS = ".*.????????.part"  # the names of files under way, which a process that is killed leaves
_LONGEST_STEM = 200  # bytes of the name of a file under way: what is added to it has to fit, too


def write_file(path: PathLike, content: bytes | Iterable[bytes], name: str | None = None) -> None:
    """Put `content`, whole or in blocks that are written as they come, at `path`, making the folders above it.

    Raises BadInput where that fails; a regular file is then as it was.
    """
    blocks = (content,) if isinstance(content, bytes) else content
    try:
        target = _replaceable(path, name)
        if target is None:
            _write_through(path, b"".join(blocks))
        else:
            _replace(target, blocks)
    except OSError as error:
        raise cannot_write(path, error, name) from error


def move_file(source: Path, path: Path) -> None:
    """Put the regular file `source` at `path`, as `write_file` would, and take it from where it was. Raises as that does."""
    try:
        target = _replaceable(path)
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            return
    except OSError as error:
        if error.errno != errno.EXDEV:  # a link to another file system, to which files are copied
            raise cannot_write(path, error) from error
    write_file(path, read_bytes(source))
    remove_file(source)


def append_file(path: PathLike, content: bytes, *, durable: bool = False) -> None:
    """Add `content` to a file, which is made where it is missing. Raises BadInput where that fails; a regular file is then as it was.

    durable  wait until the disk holds it
    """
    check_path(path)
    try:
        with _opened_to_write(path, os.O_CREAT) as descriptor:
            before = os.fstat(descriptor)
            try:
                _write_all(descriptor, content)
                if durable:
                    os.fsync(descriptor)
            except BaseException:
                if stat.S_ISREG(before.st_mode):
                    os.ftruncate(descriptor, before.st_size)
                raise
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_file(path: Path) -> None:
    """Remove a file where there is one; of a link, the link. Raises BadInput where that fails."""
    check_path(path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def sync_folder(path: PathLike) -> None:
    """Wait until the disk knows which files were made, renamed and removed in a folder. Raises BadInput where that fails."""
    if sys.platform == "win32":  # which opens no folders
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | BINARY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot, such as some of network disks
            raise cannot_write(path, error) from error


def _replaceable(path: PathLike, name: str | None = None) -> Path | None:
    """The regular file or the free place that `path` leads to; None where something else is there, which is written to."""
    found, real = look_up(path, name), Path(os.path.realpath(path))
    if found is None:
        return real
    refuse_targets(found, path, name)
    plain = stat.S_ISREG(found.st_mode) and _own_output(found) is None
    same = plain and os.path.exists(real) and os.path.samestat(os.stat(real), found)  # not one that was removed and is still open
    return real if same else None


def _own_output(found: os.stat_result) -> int | None:
    """The descriptor of this process's standard output or errors, where the file is the one that they go to."""
    for descriptor in (1, 2):
        with suppress(OSError):  # closed
            if os.path.samestat(os.fstat(descriptor), found):
                return descriptor
    return None


def _write_through(path: PathLike, content: bytes) -> None:
    """Write to what is not a regular file. A pipe without a reader is an error; one whose reader is slow is waited for."""
    own = _own_output(os.stat(path))
    if own is None:
        with _opened_to_write(path) as descriptor:
            _write_all(descriptor, content)
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    _write_all(own, content)  # and not to the file opened anew: two places in it would write over one another


@contextmanager
def _opened_to_write(path: PathLike, more: int = 0) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | more | BINARY | NO_WAITING, NEW_FILE)
    try:
        os.set_blocking(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest[:BLOCK]) :]


def _replace(target: Path, blocks: Iterable[bytes]) -> None:
    """Write beside `target`, flush, rename; folders made for it are removed again where that fails."""
    made = [folder for folder in target.parents if not os.path.lexists(folder)]
    stem = os.fsencode(target.name)[:_LONGEST_STEM].decode(errors="ignore")
    part = target.with_name(f".{stem}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, NEW_FILE)
        try:
            for block in blocks:
                _write_all(descriptor, block)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise
