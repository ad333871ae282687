"""Whether a folder can take a run, and the command that goes on with it: asked before torch is imported or a model is loaded."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import cannot_write, check_folder, is_file, shown
from dreamfusion_mesh.limits import file_size_limit

SMALLEST_FREE_SPACE = 200 * 2**20  # checkpoints, maps and meshes of a large run
SMALLEST_FILE_SIZE = 2**18  # the first checkpoint of a small run
ASSET = "asset.glb"  # of a run; what lies beside it begins with the same word: asset/export/files.py
RESULT_FILE, AUDIT_FILE, PROVENANCE_FILE = "result.json", "audit.json", "provenance.json"  # the records of a run
PREVIEW, INSPECTION, TURNTABLE, VIDEO = "preview.png", "inspection.png", "turntable.webp", "turntable.mp4"  # pictures of its asset
METRICS, METRICS_PICTURE = "metrics.jsonl", "metrics.png"  # its log, and plots of that
CHECKPOINT_FOLDER = "checkpoints"
LOCK, STAGED = ".lock", ".staged"
MANIFEST, BROKEN, SUMMARY, CONTACT = "manifest.jsonl", "manifest.broken.jsonl", "summary.csv", "contact.png"  # of a batch: batch/folder.py
GALLERY = "gallery.html"  # of a batch, or of runs side by side
WORK, WORKER_LOG = ".work", "worker-{}.log"
TRACEBACK = "traceback.txt"  # in the folder of a run that failed in a batch


def checkpoint_name(name: str) -> str:
    """The file of a checkpoint, in the run's folder."""
    return f"{CHECKPOINT_FOLDER}/{name}.safetensors"


def generate_command(folder: Path, *more: str) -> str:
    """The command that goes on with the run in `folder`, as a shell takes it."""
    return shlex.join(["dreamfusion-mesh", "generate", "--out", operand(folder), *more])


def operand(path: Path) -> str:
    """The path as a word of a command that is not taken for an option."""
    return f".{os.sep}{path}" if str(path).startswith("-") else str(path)


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
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise BadInput(f"{name}: its disk has {have} MiB left, a run needs {need}; free some or name another folder") from full
