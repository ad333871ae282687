"""The package works from a wheel, and from a checkout that is on the path alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from smoke_runs import SMALL_DELIVERY

ROOT = Path(__file__).parents[1]

CHECKOUT = """
import sys
from importlib import metadata

sys.path.append(sys.argv[1])  # the dependencies; with -S no .pth file of an editable install is read
real = metadata.distribution

def distribution(name):
    if name.replace("_", "-").lower() == "dreamfusion-mesh":
        raise metadata.PackageNotFoundError(name)
    return real(name)

metadata.distribution = distribution
import dreamfusion_mesh
from dreamfusion_mesh.config import load_config, preset_names
from dreamfusion_mesh.guidance.models.load import diffusion_files, diffusion_source
from dreamfusion_mesh.run.provenance import version_of

print(dreamfusion_mesh.__file__)
print(diffusion_files(diffusion_source("embedded")).folder)
print(*preset_names(), load_config("smoke").coarse.steps, version_of("dreamfusion-mesh"))
"""


def test_a_checkout_on_the_path_needs_no_install(tmp_path: Path) -> None:
    for folder in ("dreamfusion_mesh", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / "checkout" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "checkout")}
    command = [sys.executable, "-S", "-c", CHECKOUT, sysconfig.get_path("purelib")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    where, model, found = result.stdout.splitlines()
    assert Path(where) == tmp_path / "checkout" / "dreamfusion_mesh" / "__init__.py"
    assert Path(model) == tmp_path / "checkout" / "dreamfusion_mesh" / "guidance" / "prior"
    names = sorted(file.stem for file in (ROOT / "configs").glob("*.yaml"))
    steps = yaml.safe_load((ROOT / "configs" / "smoke.yaml").read_text())["coarse"]["steps"]
    assert found.split() == [*names, str(steps), "unknown"]


def test_the_wheel_carries_presets_and_model_and_works_from_any_folder(tmp_path: Path) -> None:
    build = ["--quiet", "--no-deps", *_build_environment(), "-w", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *build], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for preset in (ROOT / "configs").glob("*.yaml"):
        assert yaml.safe_load((site / "dreamfusion_mesh" / "presets" / preset.name).read_text()) == yaml.safe_load(preset.read_text())
    for file in (file for part in ("styles", "models") for file in (ROOT / "configs" / part).iterdir()):
        assert (site / "dreamfusion_mesh" / "presets" / file.parent.name / file.name).read_bytes() == file.read_bytes()
    assert (site / "dreamfusion_mesh" / "presets" / "prompts.csv").read_bytes() == (ROOT / "configs" / "prompts.csv").read_bytes()
    (tmp_path / "elsewhere").mkdir()
    code = "import dreamfusion_mesh, sys; print(dreamfusion_mesh.__file__, file=sys.stderr); from dreamfusion_mesh.cli import main; main()"
    quick = [word for change in ("coarse.steps=2", "fine.steps=1", *SMALL_DELIVERY) for word in ("--set", change)]
    command = [sys.executable, "-c", code, "generate", "a blue chair", "--preset", "smoke", "--device", "cpu", *quick]
    env = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "elsewhere", env=env, timeout=300)
    assert result.returncode == 0, result.stderr
    assert str(site) in result.stderr.splitlines()[0]
    assert (tmp_path / "elsewhere" / "out" / "a-blue-chair" / "asset.glb").is_file()


def _build_environment() -> list[str]:
    """pip makes a new environment and downloads into it; this one is used where it holds all that building wants."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    return ["--no-build-isolation"] if all(_is_installed(Requirement(text)) for text in wanted) else []


def _is_installed(wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(metadata.version(wanted.name))
    except metadata.PackageNotFoundError:
        return False
