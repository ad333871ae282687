"""What lies at a path: a regular file, a folder, or something that is neither."""

from __future__ import annotations

import os
import stat

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files.messages import PathLike, cannot_read, check_path, shown

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFBLK: "disk"}


def kind_of(path: PathLike, name: str | None = None) -> str:
    """What is there, through links: "file", "folder", "pipe", "socket", "disk" or "device"; empty where nothing is.

    Raises BadInput where that cannot be looked up.
    """
    try:
        found = look_up(path, name)
    except OSError as error:
        raise cannot_read(path, error, name) from None
    return kind_name(found) if found else ""


def is_file(path: PathLike) -> bool:
    """Whether a regular file is there, readable or not. Raises BadInput where that cannot be looked up."""
    return kind_of(path) == "file"


def look_up(path: PathLike, name: str | None = None) -> os.stat_result | None:
    """What is there, through links; None where nothing is. Raises BadInput for a path that cannot be one, and OSError."""
    check_path(path, name)
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def kind_name(found: os.stat_result) -> str:
    """The word for it in messages."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "device")


def refuse_targets(found: os.stat_result, path: PathLike, name: str | None) -> None:
    """Raises BadInput for what is never written to: a folder and a socket take no bytes, and a disk would lose its files."""
    if (kind := kind_name(found)) in ("folder", "disk", "socket"):
        raise BadInput(f"{name or shown(path)}: is a {kind}; name a file")
