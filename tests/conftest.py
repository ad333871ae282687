"""What tests of every wing share."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dreamfusion_mesh  # noqa: F401  before torch, so that its threads wait asleep

import torch  # isort: skip

_HOME = Path(__file__).parent / "gltf"


@pytest.fixture(scope="session")
def khronos() -> Callable[[Path], dict[str, Any]]:
    """The Khronos glTF validator: a file's path to its report, whose "issues" hold numErrors, numWarnings, numInfos and messages."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed, so the Khronos validator cannot run")
    if not (_HOME / "node_modules" / "gltf-validator").is_dir():
        pytest.skip(f"gltf-validator is not installed; run: npm install --prefix {_HOME.relative_to(Path(__file__).parents[1])}")

    def report(path: Path) -> dict[str, Any]:
        command = ["node", str(_HOME / "validate.cjs"), str(path)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return report


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that the package runs on; a card that is there and fails is a failure, only "no card" skips."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)
