"""What an engine is asked of a file, and what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 180  # for one engine to start, import and answer
SCRIPTS = Path(__file__).parent / "scripts"
MARK = "FOUND "  # before the one line of an engine's output that is the answer, as JSON


class EngineFailed(Exception):
    """An engine that did not start, took too long, or refused the file; the text says which."""


@dataclass(frozen=True)
class Shot:
    """A picture to take: the base colour alone, without light, as a square of `size` pixels.

    to_world    [4][4] rows of the camera-to-world matrix in glTF's axes; it looks along its -Z
    background  display-referred grey
    """

    size: int
    fov_y_degrees: float
    to_world: tuple[tuple[float, ...], ...]
    near: float
    far: float
    background: float

    def plain(self) -> dict[str, Any]:
        """Values for json.dumps."""
        return {name: getattr(self, name) for name in ("size", "fov_y_degrees", "to_world", "near", "far", "background")}


@dataclass(frozen=True)
class Imported:
    """What an engine has read, in glTF's axes.

    images     width and height of each image that the materials use, sorted
    low, high  corners of the bounding box
    nodes      names, as the engine has them
    """

    engine: str
    version: str
    triangles: int
    materials: tuple[str, ...]
    images: tuple[tuple[int, int], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    nodes: tuple[str, ...]


def answer_of(engine: str, output: str) -> Imported:
    """The answer in what an engine's script wrote. Raises EngineFailed where there is none."""
    lines = [line[line.index(MARK) + len(MARK) :] for line in output.splitlines() if MARK in line]
    try:
        found, _ = json.JSONDecoder().raw_decode(lines[-1])
        if "error" in found:
            raise EngineFailed(f"{engine}: {str(found['error'])[:200]}")
        return Imported(
            engine,
            str(found["version"]),
            int(found["triangles"]),
            tuple(sorted(map(str, found["materials"]))),
            tuple(sorted((int(width), int(height)) for width, height in found["images"])),
            tuple(map(float, found["low"])),
            tuple(map(float, found["high"])),
            tuple(map(str, found["nodes"])),
        )
    except (IndexError, KeyError, TypeError, ValueError):
        last = output.strip().splitlines()[-1:] or ["no output"]
        raise EngineFailed(f"{engine}: no answer ({last[0][:200]})") from None


def run_engine(engine: str, command: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None) -> str:
    """Standard output of `command`, run in `folder`, which is its home, too. It and all it started are killed after SECONDS.

    Raises EngineFailed where it does not start, fails or is killed.
    """
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder), **(extra or {})}
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineFailed(f"{engine}: did not start ({error})") from None
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise EngineFailed(f"{engine}: no answer within {SECONDS} s") from None
    finally:
        end(process)
    text = output.decode("utf-8", "replace")
    if process.returncode != 0 and MARK not in text:
        last = errors.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"ended with code {process.returncode}"]
        raise EngineFailed(f"{engine}: {last[0][:200]}")
    return text


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session, with all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
