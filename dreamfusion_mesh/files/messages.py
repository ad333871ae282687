"""Why a file cannot be read or written: one line with the true cause, where it lies, and the remedy that fits."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.limits import file_size_limit, open_files_limit

PathLike = str | os.PathLike[str]

_LONGEST_SHOWN = 240  # characters of a path in a message
_ELSEWHERE = "name another place"


class MissingFile(BadInput):
    """There is no such file."""


def shown(path: PathLike) -> str:
    """A path as messages hold it: on one line, bytes that are not UTF-8 escaped as a shell's $'...' takes them, a very long one cut."""
    text = "".join(_shown_letter(letter) for letter in os.fspath(path))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:100]}...{text[-100:]}"


def check_path(path: PathLike, name: str | None = None) -> None:
    """Raises BadInput for a path that holds NUL or is not UTF-8, which not all libraries that open files can take.

    name  how the message begins, here and in the other functions on files; None: with the path
    """
    text = os.fspath(path)
    try:
        utf8 = os.fsencode(text) == text.encode()
    except UnicodeEncodeError:
        utf8 = False
    if "\0" in text:
        raise BadInput(f"{name or shown(path)}: the path holds a NUL character; name another")
    if not utf8:
        remedy = "rename it" if sys.getfilesystemencoding() == "utf-8" else "rename it, or set LC_ALL=C.UTF-8"
        raise BadInput(f"{name or shown(path)}: the path {shown(path)} is not UTF-8; {remedy}")


def check_working_folder() -> None:
    """Raises BadInput where the folder that this process runs in is gone: libraries end the process then, as they are imported."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise BadInput("the folder that this command runs in is gone; change to another one") from None


def cannot_read(path: PathLike, error: OSError, name: str | None = None) -> BadInput:
    """The error of a file that could not be read; MissingFile where it is not there."""
    kind = MissingFile if error.errno in (errno.ENOENT, errno.ENOTDIR) else BadInput
    cause, remedy = _explain(Path(path), error, "read")
    return kind(f"{name or shown(path)}: cannot be read ({cause}); {remedy}")


def cannot_write(path: PathLike, error: OSError, name: str | None = None) -> BadInput:
    """The error of a file or folder that could not be written or made."""
    cause, remedy = _explain(Path(path), error, "write")
    return BadInput(f"{name or shown(path)}: cannot be written ({cause}); {remedy}")


def _shown_letter(letter: str) -> str:
    if letter.isprintable():
        return letter
    return f"\\x{ord(letter) - 0xDC00:02x}" if 0xDC80 <= ord(letter) <= 0xDCFF else repr(letter)[1:-1]  # os.fsdecode's escapes


def _explain(path: Path, error: OSError, verb: str) -> tuple[str, str]:
    """Cause and remedy of what the operating system answered, by a look at what lies on the way to `path`."""
    text = error.strerror or str(error) or type(error).__name__
    match error.errno:
        case errno.EACCES:
            return _refused(path, verb)
        case errno.ENOENT | errno.ENOTDIR | errno.EEXIST:
            return _broken_way(path, verb) or (text, "check the path" if verb == "read" else _ELSEWHERE)
        case errno.ENAMETOOLONG:
            longest = max(len(os.fsencode(part)) for part in path.parts)
            return f"{text}: {longest} bytes in one of its names, {len(os.fsencode(path))} in all", "name a shorter one"
        case errno.EFBIG:
            return _file_size(text)
        case errno.ENOSPC | errno.EDQUOT:
            return text, f"free some space or {_ELSEWHERE}"
        case errno.EMFILE:
            return f"{text}: this shell lets a process have {open_files_limit()}", "raise that limit with `ulimit -n`"
        case errno.ENXIO:
            return "it is a socket, or a pipe that no process reads", "start the reader first, or name a file"
        case errno.EPIPE:
            return "the process that read it has ended", "read it to its end, or name a file"
    return text, _ELSEWHERE


def _refused(path: Path, verb: str) -> tuple[str, str]:
    """Permission was denied: to enter a folder on the way, to write in one, or for the file itself."""
    remedy = f"change its permissions, or {_ELSEWHERE}"
    real = Path(os.path.realpath(path))
    closed = next((folder for folder in (*reversed(real.parents), real) if not _can_enter(folder)), None)
    if closed is not None:
        return f"you may not enter the folder {shown(closed)}", remedy
    if verb == "read" or (os.path.exists(real) and not os.path.isfile(real) and not os.path.isdir(real)):
        return f"you may not {verb} it", remedy
    folder = next(folder for folder in (real, *real.parents) if os.path.isdir(folder))
    if os.path.isfile(real) and os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return f"you may not {verb} it", remedy
    return f"you may not write in the folder {shown(folder)}", remedy


def _broken_way(path: Path, verb: str) -> tuple[str, str] | None:
    """What is no folder on the way to `path`, or the link that leads nowhere; None where neither is the cause."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the folder that this command runs in is gone", "change to another one"
    for step in (*reversed(path.parents), path):
        if os.path.islink(step) and not os.path.exists(step):
            return f"{shown(step)} is a link to {shown(os.readlink(step))}, which is missing", f"make that, or {_ELSEWHERE}"
        if step != path and os.path.lexists(step) and not os.path.isdir(step):
            return f"{shown(step)} is {'a file, ' if os.path.isfile(step) else ''}not a folder", _ELSEWHERE
        if step != path and verb == "read" and not os.path.lexists(step):
            return f"there is no folder {shown(step)}", "check the path"
    return None


def _file_size(text: str) -> tuple[str, str]:
    limit = file_size_limit()
    if limit is None:
        return f"{text} for its disk's file system", _ELSEWHERE
    return f"{text}: this shell lets files have {limit} bytes", "raise that limit with `ulimit -f unlimited`"


def _can_enter(folder: Path) -> bool:
    try:
        os.stat(os.path.join(folder, "."))  # which a Path would drop
    except PermissionError:
        return False
    except OSError:
        pass
    return True
