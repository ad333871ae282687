"""What tests of every wing share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dreamfusion_mesh  # noqa: F401  before torch, so that its threads wait asleep
from dreamfusion_mesh.audit.khronos import VALIDATOR_VARIABLE, find_validator

import torch  # isort: skip

pytest_plugins = ["folder_costs", "pytester"]

_HOME = Path(__file__).parent / "gltf"
_VALIDATOR = _HOME / "node_modules" / "gltf-validator"


@pytest.fixture(scope="session", autouse=True)
def _own_gltf_validator() -> Iterator[None]:
    """The audit finds the validator that the tests install, unless the environment names another."""
    with pytest.MonkeyPatch.context() as patch:
        if VALIDATOR_VARIABLE not in os.environ and _VALIDATOR.is_dir() and shutil.which("node"):
            patch.setenv(VALIDATOR_VARIABLE, str(_HOME))
        yield


@pytest.fixture(scope="session")
def gltf_validator(_own_gltf_validator: None) -> Path:
    """The folder of the Khronos glTF validator; skips where it is not installed."""
    found = find_validator()
    if found is None:
        pytest.skip(f"gltf-validator or node is not installed; run: npm install --prefix {_HOME.relative_to(Path(__file__).parents[1])}")
    return found


@pytest.fixture(scope="session")
def khronos(gltf_validator: Path) -> Callable[[Path], dict[str, Any]]:
    """The Khronos glTF validator: a file's path to its report, whose "issues" hold numErrors, numWarnings, numInfos and messages."""

    def report(path: Path) -> dict[str, Any]:
        command = ["node", str(_HOME / "validate.cjs"), str(path)]
        environment = {**os.environ, "NODE_PATH": str(gltf_validator.parent)}
        done = subprocess.run(command, capture_output=True, check=False, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return report


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that the package runs on; a card that is there and fails is a failure, only "no card" skips."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)
