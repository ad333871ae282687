"""Godot's glTF importer, run without a display. Tried with godot3-server 3.2."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from dreamfusion_mesh.audit.engines.record import SCRIPTS, SECONDS, EngineFailed, Imported, answer_of, end, run_engine

NAME = "Godot"
_PROJECT = 'config_version=4\n\n[application]\n\nconfig/name="import"\n'
_POLL = 0.1  # seconds


def find_godot() -> str | None:
    """Where the program is, None where it is not installed."""
    return shutil.which("godot3-server")


def import_in_godot(file: Path) -> Imported:
    """What Godot reads from a GLB. Raises EngineFailed."""
    godot = find_godot() or "godot3-server"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "project.godot").write_text(_PROJECT, encoding="utf-8")
        shutil.copyfile(file, folder / "asset.glb")
        shutil.copyfile(SCRIPTS / "godot.gd", folder / "godot.gd")
        _import(godot, folder)
        return answer_of(NAME, run_engine(NAME, [godot, "--path", name, "-s", "godot.gd"], folder))


def _import(godot: str, folder: Path) -> None:
    """Let the editor import the project's files. It never exits by itself: it is ended once it has written the scene's checksum."""
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    silent = subprocess.DEVNULL
    try:
        editor = subprocess.Popen(
            [godot, "--path", str(folder), "-e", "-q"],
            cwd=folder,
            env=environment,
            stdin=silent,
            stdout=silent,
            stderr=silent,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineFailed(f"{NAME}: did not start ({error})") from None
    try:
        until = time.monotonic() + SECONDS
        while not any((folder / ".import").glob("asset.glb-*.md5")):  # written last
            if editor.poll() is not None or time.monotonic() > until:
                raise EngineFailed(f"{NAME}: the editor did not import the file within {SECONDS} s")
            time.sleep(_POLL)
    finally:
        end(editor)
