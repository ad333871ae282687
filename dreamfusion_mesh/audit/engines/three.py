"""three.js' GLTFLoader in Chromium, driven by puppeteer-core, and its picture of the base colour by a software renderer."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from pathlib import Path

from dreamfusion_mesh.audit.engines.record import SCRIPTS, EngineFailed, Imported, Shot, answer_of, run_engine
from dreamfusion_mesh.audit.node import find_package

NAME = "three.js"
MODULES_VARIABLE = "DREAMFUSION_MESH_THREE"  # a folder whose node_modules holds three and puppeteer-core
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_three() -> tuple[str, Path] | None:
    """The browser and the folder of node modules; None where node, a browser, three or puppeteer-core is not installed.

    Raises BadInput where DREAMFUSION_MESH_THREE names a folder without them.
    """
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    packages = [find_package(name, MODULES_VARIABLE) for name in ("three", "puppeteer-core")]
    if browser is None or any(package is None for package in packages):
        return None
    assert packages[0] is not None
    return browser, packages[0].parent


def import_in_three(file: Path, shot: Shot | None = None, picture: Path | None = None) -> Imported:
    """What three.js reads from a GLB; with `shot`, its PNG is written to `picture`. Raises EngineFailed."""
    found = find_three()
    if found is None:
        raise EngineFailed(f"{NAME}: needs node, Chromium, and the npm packages three and puppeteer-core")
    browser, modules = found
    with tempfile.TemporaryDirectory() as name:
        answer = Path(name) / "picture.txt"
        asked = {"file": str(file.resolve()), "browser": browser, "shot": shot.plain() if shot else None, "picture": str(answer)}
        command = ["node", str(SCRIPTS / "three.cjs"), str(modules), str(SCRIPTS / "three.html"), json.dumps(asked)]
        imported = answer_of(NAME, run_engine(NAME, command, Path(name), {"NODE_PATH": ""}))
        if picture is not None:
            if not os.path.isfile(answer):
                raise EngineFailed(f"{NAME}: gave no picture")
            picture.write_bytes(base64.b64decode(answer.read_text(encoding="ascii")))
    return imported
