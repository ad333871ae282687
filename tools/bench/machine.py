"""Which machine the figures are of, and what a process costs on it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.records import Machine

ROOT = Path(__file__).parents[2]


def this_machine(device: str) -> Machine:
    """This one, with the card where `device`, "cpu" or "cuda", is one."""
    import torch
    import warp

    from dreamfusion_mesh import __version__
    from dreamfusion_mesh.kernels.launch import threads

    card = torch.cuda.get_device_name() if device == "cuda" else ""
    versions = {"dreamfusion_mesh": f"{__version__}{_commit()}", "torch": torch.__version__, "warp": warp.config.version}
    return Machine(device, _processor(), threads(), card, (*versions.items(), ("python", platform.python_version())))


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    """The commit that is checked out, where this is a checkout and git is there."""
    try:
        found = subprocess.run(["git", "rev-parse", "--short=8", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return f" ({found.stdout.strip()})" if found.returncode == 0 else ""


@dataclass(frozen=True)
class Ended:
    """A whole process: its seconds from start to end, the most memory that it or a child of it held, bytes, and its standard output."""

    seconds: float
    memory: int
    output: str


_LAUNCH = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
ended = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([ended.returncode, seconds, 1024 * used.ru_maxrss, ended.stdout]))
"""


def whole_process(arguments: Sequence[str]) -> Ended:
    """Run Python with these arguments, from this checkout. Raises RuntimeError where it fails.

    A small process starts it: Linux counts to a process the memory of the one that it was forked from.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _LAUNCH, *arguments]
    launched = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    code, seconds, memory, output = json.loads(launched.stdout)
    if code:
        raise RuntimeError(f"python {' '.join(arguments)[:80]} ended with {code}")
    return Ended(seconds, memory, output)
