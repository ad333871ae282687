"""What a case may touch: an audit hook that refuses to change anything outside it, and the contents of folders to compare."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

_PATHS = {  # audit events that change files (docs.python.org, audit_events), and which arguments are paths, with their dir_fd
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.setxattr": ((0, None),),
    "shutil.chown": ((0, None),),
}
_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.startfile",
    "socket.connect",
    "socket.bind",
    "os.kill",
    "os.killpg",
)
_PROGRAMS = ("node", "ffmpeg", "ldconfig", "uname", "lscpu")  # of the glTF validator and of asset.video; libraries look at the machine
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Notes and refuses, by PermissionError, what leaves `roots` while it watches. There is no taking away an audit hook: one a process."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [os.path.realpath(root) for root in roots]
        self._watching = False
        self.touched: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def watch(self) -> Iterator[None]:
        self.touched = []
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching or not (event == "open" or event in _PATHS or event in _FORBIDDEN or event == "subprocess.Popen"):
            return
        self._watching = False  # what looks at a path raises events of its own
        try:
            found = self._outside(event, arguments)
        finally:
            self._watching = True
        if found:
            self.touched.append(found)
            raise PermissionError(1, f"refused by the fuzzing: {found}")

    def _outside(self, event: str, arguments: tuple[Any, ...]) -> str:
        if event == "open":
            path, mode, flags = arguments
            writing = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITING)
            return f"open {path!r} for writing" if writing and not self._allowed(path) else ""
        if event == "subprocess.Popen":
            program = arguments[0] if isinstance(arguments[0], str) else os.fsdecode(arguments[0])
            name = os.path.basename(program)
            known = program == sys.executable or name in _PROGRAMS or name.startswith("ffmpeg-")  # imageio's, with its machine and version
            return "" if known else f"start {program!r}"
        if event == "os.kill" and _is_own_child(arguments[0]):
            return ""
        if event in _FORBIDDEN:
            return f"{event} {arguments!r}"[:200]
        for place, folder in _PATHS[event]:
            descriptor = arguments[folder] if folder is not None and folder < len(arguments) else -1
            if not self._allowed(arguments[place], descriptor, follow=event not in ("os.remove", "os.rename", "os.rmdir", "os.symlink")):
                return f"{event} {arguments[place]!r}"
        return ""

    def _allowed(self, path: Any, descriptor: int = -1, follow: bool = True) -> bool:
        if isinstance(path, int):
            return True  # an open file was looked at when it was opened
        name = os.fsdecode(path)
        if "\0" in name:
            return True  # no such path can be
        if descriptor is not None and descriptor >= 0 and not os.path.isabs(name):
            name = os.path.join(os.readlink(f"/proc/self/fd/{descriptor}"), name)
        real = os.path.realpath(name) if follow else os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
        return real in ("/dev/null", "/dev/tty") or any(real == root or real.startswith(root + os.sep) for root in self._roots)


def _is_own_child(process: int) -> bool:
    """Whether this process started that one, and so may end it."""
    try:
        return psutil.Process(process).ppid() == os.getpid()
    except (psutil.Error, ValueError):
        return False


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its name, with its type, mode and the hash of what it holds."""
    found = {}
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(above, name)
            status = os.lstat(path)
            text = os.readlink(path) if os.path.islink(path) else ""
            if not text and os.path.isfile(path):
                text = sha256(Path(path).read_bytes()).hexdigest()
            found[os.path.relpath(path, folder)] = f"{status.st_mode:o} {text}"
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names that are not in both alike."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
