"""Headless Chromium, driven through scenarios of tests/browser; SCREENSHOTS in the environment names a folder for their pictures."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from dreamfusion_mesh.audit.engines.three import MODULES_VARIABLE, find_three

_HOME = Path(__file__).parents[1] / "browser"
_ENGINES = _HOME.parent / "engines"


class Browser(NamedTuple):
    """Where the browser is, and the node modules that drive it."""

    program: str
    modules: Path

    def begin(self, scenario: str, url: str, **asked: Any) -> subprocess.Popen[str]:
        """The process of a scenario, which finds something at an address."""
        given = {"browser": self.program, "url": url, "shots": os.environ.get("SCREENSHOTS"), **asked}
        command = ["node", str(_HOME / "drive.cjs"), str(self.modules), str(_HOME / f"{scenario}.cjs"), json.dumps(given)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def look(self, scenario: str, url: str, **asked: Any) -> dict[str, Any]:
        """What a scenario finds at an address."""
        return found_by(self.begin(scenario, url, **asked))


def installed_browser(patch: pytest.MonkeyPatch) -> Browser:
    """Skips where it, or what drives it, is missing."""
    if not os.environ.get(MODULES_VARIABLE) and (_ENGINES / "node_modules" / "three").is_dir():
        patch.setenv(MODULES_VARIABLE, str(_ENGINES))
    found = find_three()
    if found is None or shutil.which("node") is None:
        pytest.skip("Chromium or puppeteer-core is not installed; `make browser-tests` installs them")
    return Browser(*found)


def found_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a scenario has found, once it ends; no page may have had an error."""
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(output.removeprefix("FOUND "))
    assert found["errors"] == []
    return found


def pixels(picture: str) -> np.ndarray:
    """float [H, W, 3] in [0, 255] of a PNG in base64."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        return np.asarray(image.convert("RGB"), dtype=float)
