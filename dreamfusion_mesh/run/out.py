"""Whether a folder can take a run, asked before torch is imported, a model is loaded or anything is written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import cannot_write, check_folder, file_size_limit, is_file, shown

SMALLEST_FREE_SPACE = 200 * 2**20  # checkpoints, maps and meshes of a large run
SMALLEST_FILE_SIZE = 2**18  # the first checkpoint of a small run
RESULT_FILE = "result.json"
CHECKPOINT_FOLDER = "checkpoints"


def check_out(path: Path) -> None:
    """Raises BadInput where no run can be written in `path`; one that is finished needs no space."""
    name = f"--out {shown(path)}"
    check_folder(path, name)
    if os.path.lexists(path / CHECKPOINT_FOLDER):  # perhaps a link to a larger disk, which is away
        check_folder(path / CHECKPOINT_FOLDER, f"--out {shown(path / CHECKPOINT_FOLDER)}")
    if is_file(path / RESULT_FILE):
        return
    if (limit := file_size_limit()) is not None and limit < SMALLEST_FILE_SIZE:
        raise cannot_write(path, OSError(errno.EFBIG, os.strerror(errno.EFBIG)), name)
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.exists(folder))
    free = shutil.disk_usage(existing).free
    if free < SMALLEST_FREE_SPACE:
        have, need = f"{free / 2**20:.0f}", f"{SMALLEST_FREE_SPACE / 2**20:.0f}"
        raise BadInput(f"{name}: its disk has {have} MiB left, a run needs {need}; free some or name another folder")
