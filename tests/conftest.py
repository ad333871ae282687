"""What tests of every wing share."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dreamfusion_mesh  # noqa: F401  before torch, so that its threads wait asleep

if TYPE_CHECKING:
    from dreamfusion_mesh.contracts import GuidanceModel
    from dreamfusion_mesh.run.result import Result

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


@pytest.fixture(scope="session")
def guidance() -> GuidanceModel:
    """The embedded model, as `smoke_runs.CONFIG` asks for it."""
    import torch
    from smoke_runs import CONFIG

    from dreamfusion_mesh.guidance.models.diffusion import load_guidance

    return load_guidance(CONFIG.guidance, torch.device("cpu"))


@pytest.fixture(scope="session")
def finished(guidance: GuidanceModel, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A finished run of `smoke_runs.CONFIG`; tests copy its folder before they change it."""
    from smoke_runs import CONFIG

    from dreamfusion_mesh.pipeline import generate

    return generate(CONFIG, tmp_path_factory.mktemp("finished") / "run", guidance=guidance)
