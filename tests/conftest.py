"""What tests of every wing share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dreamfusion_mesh  # noqa: F401  before torch, so that its threads wait asleep
from dreamfusion_mesh import process
from dreamfusion_mesh.audit.khronos import VALIDATOR_VARIABLE, find_validator

import torch  # isort: skip

pytest_plugins = ["folder_costs", "pytester"]

if TYPE_CHECKING:
    from dreamfusion_mesh.contracts import GuidanceModel
    from dreamfusion_mesh.run.result import Result

_HOME = Path(__file__).parent / "gltf"
_VALIDATOR = _HOME / "node_modules" / "gltf-validator"


@pytest.fixture(scope="session", autouse=True)
def _own_gltf_validator() -> Iterator[None]:
    """The audit finds the validator that the tests install, unless the environment names another."""
    with pytest.MonkeyPatch.context() as patch:
        if VALIDATOR_VARIABLE not in os.environ and _VALIDATOR.is_dir() and shutil.which("node"):
            patch.setenv(VALIDATOR_VARIABLE, str(_HOME))
        yield


@pytest.fixture(autouse=True)
def _signals_stay_in_their_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signal asks of a process it asks once and for good; a test's own process goes on."""
    monkeypatch.setattr(process, "_received", [])


@pytest.fixture(scope="session")
def gltf_validator(_own_gltf_validator: None) -> Path:
    """The folder of the Khronos glTF validator; skips where it is not installed."""
    found = find_validator()
    if found is None:
        pytest.skip(f"gltf-validator or node is not installed; run: npm install --prefix {_HOME.relative_to(Path(__file__).parents[1])}")
    return found


@pytest.fixture(scope="session")
def khronos_reports(gltf_validator: Path) -> Callable[[Sequence[Path]], list[dict[str, Any]]]:
    """The Khronos glTF validator: files' paths to its reports, whose "issues" hold numErrors, numWarnings, numInfos and messages."""

    def reports(paths: Sequence[Path]) -> list[dict[str, Any]]:
        command = ["node", str(_HOME / "validate.cjs"), *map(str, paths)]
        environment = {**os.environ, "NODE_PATH": str(gltf_validator.parent)}
        done = subprocess.run(command, capture_output=True, check=False, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return reports


@pytest.fixture(scope="session")
def khronos(khronos_reports: Callable[[Sequence[Path]], list[dict[str, Any]]]) -> Callable[[Path], dict[str, Any]]:
    """`khronos_reports` of one file."""
    return lambda path: khronos_reports([path])[0]


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that the package runs on; a card that is there and fails is a failure, only "no card" skips."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


@pytest.fixture(scope="session")
def guidance() -> GuidanceModel:
    """The embedded model, as `smoke_runs.CONFIG` asks for it."""
    from smoke_runs import CONFIG

    from dreamfusion_mesh.guidance.models.load import load_guidance

    return load_guidance(CONFIG.guidance, torch.device("cpu"))


@pytest.fixture(scope="session")
def finished(guidance: GuidanceModel, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A finished run of `smoke_runs.CONFIG`; tests copy its folder before they change it."""
    from smoke_runs import CONFIG

    from dreamfusion_mesh.pipeline import generate

    return generate(CONFIG, tmp_path_factory.mktemp("finished") / "run", guidance=guidance)
