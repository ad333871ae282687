"""Whether a folder can take a run, asked before torch is imported, a model is loaded or anything is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import check_folder, is_file, shown

SMALLEST_FREE_SPACE = 200 * 2**20  # checkpoints, maps and meshes of a large run
RESULT_FILE = "result.json"


def check_out(path: Path) -> None:
    """Raises BadInput where no run can be written in `path`; one that is finished needs no free space."""
    check_folder(path, f"--out {shown(path)}")
    if is_file(path / RESULT_FILE):
        return
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.exists(folder))
    free = shutil.disk_usage(existing).free
    if free < SMALLEST_FREE_SPACE:
        have, need = f"{free / 2**20:.0f}", f"{SMALLEST_FREE_SPACE / 2**20:.0f}"
        raise BadInput(f"--out {shown(path)}: its disk has {have} MiB left, a run needs {need}; free some or name another folder")
