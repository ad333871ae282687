"""Whether a file or folder could be written, asked before the work whose outcome it will hold. Nothing is written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files.kinds import kind_name, look_up, refuse_targets
from dreamfusion_mesh.files.messages import PathLike, cannot_read, cannot_write, shown


def check_target(path: PathLike, name: str | None = None) -> None:
    """Raises BadInput where a file at `path` could not be written, as far as that can be known before. Writes nothing."""
    try:
        found = look_up(path, name)
        if found is None or stat.S_ISREG(found.st_mode):
            _check_parents(Path(os.path.realpath(path)))
        else:
            refuse_targets(found, path, name)
    except OSError as error:
        raise cannot_write(path, error, name) from None


def check_folder(path: PathLike, name: str | None = None) -> None:
    """Raises BadInput where `path` is no folder whose files can be listed and written, and none can be made there. Writes nothing."""
    try:
        found = look_up(path, name)
        if found is None:
            _check_parents(Path(path))
        elif not stat.S_ISDIR(found.st_mode):
            raise BadInput(f"{name or shown(path)}: is a {kind_name(found)}; name a folder")
        else:
            _check_access(Path(path))
    except OSError as error:
        raise cannot_write(path, error, name) from None
    if found is not None and not _access(path, os.R_OK):
        raise cannot_read(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)), name)


def _check_parents(path: Path) -> None:
    """Raises OSError where what is to be made at `path`, which is missing, cannot be made: by the folder above it, or for its length."""
    if os.path.islink(path):  # that leads nowhere
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    path = path.absolute()
    folder = next(folder for folder in path.parents if os.path.lexists(folder))
    _check_access(folder)
    longest = max(len(os.fsencode(part)) for part in path.relative_to(folder).parts)
    if hasattr(os, "pathconf") and longest > os.pathconf(folder, "PC_NAME_MAX"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _check_access(folder: Path) -> None:
    """Raises OSError where nothing can be made in `folder`."""
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not _access(folder, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code))


def _access(path: PathLike, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
