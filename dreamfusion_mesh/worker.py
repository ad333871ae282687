"""A function run in a process of its own, which can be killed: libraries that hold the GIL report no progress and cannot be interrupted.

Arrays go in and come out in numpy's own format, pickles refused. The process ends with the one that started it.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dreamfusion_mesh.process import die_with_parent

Work = Callable[..., Sequence[np.ndarray]]

_BOOTSTRAP = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from dreamfusion_mesh import worker
worker.serve(int(sys.argv[2]), sys.argv[3], sys.argv[4])
"""


class WorkerFailed(Exception):
    """The process ran out of time, could not start, ended early or gave malformed output; the text says which."""


def run_worker(work: Work, arrays: Sequence[np.ndarray], seconds: float, name: str) -> list[np.ndarray]:
    """What `work(*arrays)` gives, computed in another process, which is killed after `seconds` and when this one is interrupted or ends.

    work  a function of a module's top level; the process imports that module, so it should import little
    name  of the library at work, for messages
    Raises WorkerFailed.
    """
    command = [sys.executable, "-I", "-c", _BOOTSTRAP, json.dumps(sys.path), str(os.getpid()), work.__module__, work.__name__]
    try:
        done = subprocess.run(command, input=encode(arrays), capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise WorkerFailed(f"{name} was not done after {seconds:g} s") from None
    except OSError as problem:
        raise WorkerFailed(f"{name} could not be started ({problem})") from None
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise WorkerFailed(f"{name} ended with {done.returncode}" + (f" ({lines[-1]})" if lines else ""))
    try:
        return decode(done.stdout)
    except (ValueError, EOFError):
        raise WorkerFailed(f"{name} gave output in an unknown format") from None


def serve(parent: int, module: str, function: str) -> None:
    """The other process: arrays from stdin, the function's arrays to stdout; what else is printed there goes to stderr."""
    die_with_parent(parent)
    response: Any = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    work: Work = getattr(importlib.import_module(module), function)
    response.write(encode(work(*decode(sys.stdin.buffer.read()))))
    response.close()


def encode(arrays: Sequence[np.ndarray]) -> bytes:
    """Arrays one behind the other, in numpy's format."""
    buffer = io.BytesIO()
    for array in arrays:
        np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def decode(data: bytes) -> list[np.ndarray]:
    """All arrays of `encode`'s bytes. Raises ValueError or EOFError where they are something else."""
    buffer, arrays = io.BytesIO(data), []
    while buffer.tell() < len(data):
        arrays.append(np.load(buffer, allow_pickle=False))
    return arrays
