"""Where Warp keeps compiled kernels: in its own folder where that can be written, in a private temporary one where not."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import warp as wp

from dreamfusion_mesh.errors import RunFailed

VARIABLE = "WARP_CACHE_PATH"  # https://nvidia.github.io/warp/stable/user_guide/configuration.html
_NEEDED = 32 * 2**20  # bytes free; this package's kernels take 2 MiB for a CPU, several times that for a card
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class KernelCache:
    """The folder; `problem` says what is wrong with Warp's own one where this is temporary, and is empty where it is that."""

    folder: Path
    problem: str


def start_with_cache(start: Callable[[], None]) -> KernelCache:
    """Start Warp by `start`, with a cache of kernels that can be written.

    A temporary one belongs to this process and is removed with it; child processes find it in WARP_CACHE_PATH. It is logged as a warning.
    Raises RunFailed where there is no temporary folder either.
    """
    if problem := _homeless():
        temporary = _temporary(problem)
        start()
        return KernelCache(temporary, problem)
    try:
        start()
        own = Path(wp.config.kernel_cache_dir or "")
        problem = _unwritable(own)
    except OSError as error:
        own = Path(wp.config.kernel_cache_dir or ".")
        problem = f"{own} cannot be made ({error.strerror or error})"
        temporary = _temporary(problem)
        start()
        return KernelCache(temporary, problem)
    return KernelCache(_temporary(problem, own), problem) if problem else KernelCache(own, "")


def _homeless() -> str:
    """What is wrong where Warp would make a folder named "~": there is neither a home folder nor another one named."""
    named = wp.config.kernel_cache_dir or os.environ.get(VARIABLE) or os.environ.get("XDG_CACHE_HOME")
    return "" if named or os.path.isabs(os.path.expanduser("~")) else "this user has no home folder"


def _unwritable(folder: Path) -> str:
    """What is wrong with a cache that exists; empty where it takes files."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror or error})"
    return f"{folder} has {free / 2**20:.0f} MiB left on its disk" if free < _NEEDED else ""


def _temporary(problem: str, own: Path | None = None) -> Path:
    """Have Warp use a folder that goes with this process, with the kernels that are in its `own` one."""
    try:
        base = Path(tempfile.mkdtemp(prefix="dreamfusion-mesh-kernels-"))  # for this user alone
    except OSError as error:
        reason = f"{problem}, and there is no temporary folder ({error.strerror or error})"
        raise RunFailed(f"Warp's cache of kernels: {reason}; name a folder that can be written in {VARIABLE}") from error
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    folder = base / str(wp.config.version)
    if own is None:
        folder.mkdir()
    else:
        with suppress(OSError):  # what cannot be read is compiled anew
            shutil.copytree(own, folder)
        folder.mkdir(exist_ok=True)
    os.environ[VARIABLE] = str(base)
    wp.config.kernel_cache_dir = str(folder) if own else str(base)  # before its start Warp adds the version itself
    _LOG.warning(
        "Warp's cache of kernels: %s; a temporary folder is used, and goes with this process. Name one that lasts in %s",
        problem,
        VARIABLE,
    )
    return folder
