"""Blender's glTF importer, and its picture of the base colour by Cycles on the CPU. Tried with 3.4."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from dreamfusion_mesh.audit.engines.record import SCRIPTS, Imported, Shot, answer_of, run_engine

NAME = "Blender"


def find_blender() -> str | None:
    """Where the program is, None where it is not installed."""
    return shutil.which("blender")


def import_in_blender(file: Path, shot: Shot | None = None, picture: Path | None = None) -> Imported:
    """What Blender reads from a GLB; with `shot`, it also writes the PNG `picture`. Raises EngineFailed."""
    with tempfile.TemporaryDirectory() as folder:
        asked = {"file": str(file.resolve()), "shot": shot.plain() if shot else None, "picture": str(picture.resolve()) if picture else ""}
        options = ["--background", "--factory-startup", "-noaudio", "--disable-autoexec", "--python-exit-code", "3"]
        command = [find_blender() or "blender", *options, "--python", str(SCRIPTS / "blender.py"), "--", json.dumps(asked)]
        return answer_of(NAME, run_engine(NAME, command, Path(folder)))
