"""The command line: exit codes, one clear line for bad input, nothing half-written."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "dreamfusion_mesh.cli"]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=cwd, timeout=300)


def test_help_answers_without_loading_heavy_packages() -> None:
    heavy = {"torch", "diffusers", "transformers", "warp", "trimesh", "scipy", "PIL", "numpy"}
    code = "import sys; sys.argv = ['dreamfusion-mesh', '--help']\nfrom dreamfusion_mesh import cli\n"
    code += "try: cli.main()\nexcept SystemExit: pass\n"
    code += f"loaded = {heavy!r} & set(sys.modules)\nassert not loaded, loaded"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for command in ("generate", "export", "audit", "doctor"):
        assert command in result.stdout


def test_help_is_prompt() -> None:
    started = time.perf_counter()
    assert run("--help").returncode == 0
    assert time.perf_counter() - started < 5  # a guard against loading models; tools.bench times it


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate"], "PROMPT: is missing"),
        (["generate", ""], "prompt"),
        (["generate", "   "], "prompt"),
        (["generate", "a red mug " * 200], "prompt"),
        (["generate", "a red mug with white parts and a large striped blue table and a small green house with a red roof"], "tokens"),
        (["generate", "flurbel gronk"], "knows none of"),
        (["generate", "a red mug", "--preset", "smok"], "did you mean 'smoke'?"),
        (["generate", "a red mug", "--set", "coarse.stpes=3"], "coarse.stpes: unknown setting; did you mean 'steps'?"),
        (["generate", "a red mug", "--set", "coarse.steps=-1"], "coarse.steps"),
        (["generate", "a red mug", "--seed", "-1"], "seed"),
        (["generate", "a red mug", "--device", "tpu"], "device"),
        (["generate", "a red mug", "--set", "guidance.model=nowhere"], "nowhere"),
        (["generate", "a red mug", "--out", "pyproject.toml"], "is a file"),
        (
            ["generate", "a red mug", "--set", "raster.backend=opengl"],
            "raster.backend: input should be 'auto', 'warp', 'nvdiffrast' or 'kaolin'",
        ),
        (["generate", "a red mug", "--device", "cpu", "--set", "raster.backend=nvdiffrast"], "it needs a CUDA device"),
        (["generate", "a red mug", "--device", "cpu", "--set", "raster.backend=kaolin"], "it needs a CUDA device"),
        (["generate", "a red mug", "--commercial", "--set", "raster.backend=nvdiffrast"], "'nvdiffrast': refused with --commercial"),
        (["generate", "--out", "nowhere"], "holds no run"),
        (["generate", "--out", "nowhere", "--commercial"], "leave out --preset, --set, --seed and --commercial"),
        (["export", "nowhere"], "holds no run"),
        (["audit", "nowhere.glb"], "nowhere.glb"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["pyproject.toml"]


def test_an_unknown_option_is_exit_2() -> None:
    result = run("generate", "a red mug", "--colour", "red")
    assert result.returncode == 2
    assert "--colour" in result.stderr


def test_a_model_folder_with_pickles_is_refused(tmp_path: Path) -> None:
    for part in ("unet", "text_encoder", "tokenizer", "scheduler"):
        (tmp_path / "model" / part).mkdir(parents=True)
    (tmp_path / "model" / "unet" / "config.json").write_text("{}")
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    result = run("generate", "a red mug", "--preset", "smoke", "--set", "guidance.model=model", cwd=tmp_path)
    assert result.returncode == 2
    assert "safetensors" in result.stderr
    assert not (tmp_path / "out").exists()


def test_doctor_finds_the_default_path() -> None:
    result = run("doctor")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "MISSING" not in result.stdout
    for name in ("cpu", "embedded", "warp", "xatlas", "nvdiffrast", "kaolin"):
        assert name in result.stdout
    for line in result.stdout.splitlines():
        if "absent   rasterizer" in line:
            assert "CUDA device" in line
    assert result.stderr == ""
