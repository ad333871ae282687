"""The command line: exit codes, one clear line for bad input, nothing half-written."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import Ended, caller, check_refused

from dreamfusion_mesh import doctor
from dreamfusion_mesh.config import dump, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.kernels import launch
from dreamfusion_mesh.progress import progress
from dreamfusion_mesh.run import fitting
from dreamfusion_mesh.run import folder as run_folder
from dreamfusion_mesh.run.lock import locked

ROOT = Path(__file__).parents[1]
LEFT_OUT = "leave out --preset, --model, --set, --seed, --device, --engine and --commercial"
COMMAND = [sys.executable, "-m", "dreamfusion_mesh"]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which first has to load torch."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # this checkout, whatever is installed
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process, in the folder `tmp_path`."""
    return caller(monkeypatch, capfd, tmp_path)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object) -> None:
        raise AssertionError("the model is loaded before the input is checked")

    monkeypatch.setattr(fitting, "load_guidance", load)


def test_help_answers_without_loading_heavy_packages() -> None:
    heavy = {"torch", "diffusers", "transformers", "warp", "trimesh", "scipy", "PIL", "numpy"}
    code = "import sys; sys.argv = ['dreamfusion-mesh', '--help']\nfrom dreamfusion_mesh import cli\n"
    code += "try: cli.main()\nexcept SystemExit: pass\n"
    code += f"loaded = {heavy!r} & set(sys.modules)\nassert not loaded, loaded"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for command in ("generate", "batch", "summary", "gallery", "view", "evaluate", "export", "audit", "models", "settings", "doctor"):
        assert command in result.stdout


def test_each_fault_of_bad_input_is_a_line(command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise BadInput("prompts.csv, line 2, seed: one\nbroken", "prompts.csv, line 3, name: other")

    monkeypatch.setattr("dreamfusion_mesh.config.load_config", refuse)
    found = command("generate", "a red mug")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "error: prompts.csv, line 2, seed: one broken\nerror: prompts.csv, line 3, name: other\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
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
            "raster.backend: expected one of auto, warp, nvdiffrast, kaolin (given 'opengl')",
        ),
        (["generate", "a red mug", "--device", "cpu", "--set", "raster.backend=nvdiffrast"], "it needs a CUDA device"),
        (["generate", "a red mug", "--device", "cpu", "--set", "raster.backend=kaolin"], "it needs a CUDA device"),
        (["generate", "a red mug", "--commercial", "--set", "raster.backend=nvdiffrast"], "'nvdiffrast': refused with --commercial"),
        (["generate", "--out", "nowhere"], "holds no run"),
        (["generate", "--out", "nowhere", "--commercial"], LEFT_OUT),
        (["generate", "--out", "nowhere", "--engine", "unity"], LEFT_OUT),
        (["generate", "--out", "nowhere", "--device", "cpu"], LEFT_OUT),
        (["export", "nowhere"], "holds no run"),
        (["audit", "nowhere.glb"], "nowhere.glb"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str], message: str, command: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    check_refused(command(*arguments), message)
    assert [file.name for file in tmp_path.iterdir()] == ["pyproject.toml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "a red mug", "--device", "cpu", "--set", "raster.backend=nvdiffrast"], "it needs a CUDA device"),
        (["generate", "flurbel gronk", "--out", "deep/run"], "knows none of"),
    ],
    ids=["back end", "words"],
)
def test_a_new_process_says_nothing_else(arguments: list[str], message: str, tmp_path: Path) -> None:
    check_refused(run(*arguments, cwd=tmp_path), message)
    assert not list(tmp_path.iterdir())


def test_a_locked_folder_is_refused_before_the_model_is_loaded(command: Callable[..., Ended], no_model: None, tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        check_refused(
            command("generate", "a red mug", "--out", "run"), f"run: is in use by process {os.getpid()}, another generate, export or batch"
        )
    assert not list(tmp_path.iterdir())


def test_a_card_that_warp_lacks_is_refused(
    command: Callable[..., Ended], no_model: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch, "warp_missing", lambda device: f"Warp cannot run on {device}\n(driver too old)")
    message = "error: --device cuda: torch has cuda:0 and Warp has not: Warp cannot run on cuda:0 (driver too old); use --device cpu"
    check_refused(command("generate", "a red mug", "--device", "cuda", "--out", "run"), message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["generate", "go on", "export", "audit", "preset"])
def test_settings_of_another_schema_are_refused(verb: str, command: Callable[..., Ended], no_model: None, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    text = dump(load_config(overrides={"prompt": "a red mug"})).replace("schema: 1", "schema: 7")
    (tmp_path / "run" / "run.yaml").write_text(text)
    arguments = {
        "generate": ["generate", "a red mug", "--out", "run"],
        "go on": ["generate", "--out", "run"],
        "export": ["export", "run"],
        "audit": ["audit", "run/asset.glb"],
        "preset": ["generate", "a blue mug", "--preset", "run/run.yaml", "--out", "new"],
    }[verb]
    check_refused(command(*arguments), "is of schema 7, this version reads up to 1; install the one that wrote it")
    assert [file.name for file in tmp_path.rglob("*")] == ["run", "run.yaml"]
    assert (tmp_path / "run" / "run.yaml").read_text() == text


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("a file", "is a file; name a folder"),
        ("another run", "holds another run (prompt"),
        ("other files", "is not empty"),
        ("full", "MiB left"),
    ],
)
def test_out_is_checked_before_the_model_is_loaded(
    found: str, message: str, command: Callable[..., Ended], no_model: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    if found == "a file":
        out.write_text("content")
    elif found == "full":
        usage = run_folder.shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda path: usage)
    else:
        out.mkdir()
        name, text = ("run.yaml", dump(load_config(overrides={"prompt": "a blue mug"}))) if found == "another run" else ("thesis.txt", "x")
        (out / name).write_text(text)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    check_refused(command("generate", "a red mug", "--out", "run"), message)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "COMMAND: is missing; one of generate, batch, summary, gallery, view, evaluate, export, audit, models, settings, doctor",
        ),
        (["generat"], "No such command 'generat'"),
        (["generate", "a red mug", "--colour", "red"], "No such option: --colour"),
        (["generate", "a red mug", "--seed", "x"], "Invalid value for '--seed'"),
        (["generate", "a red mug", "--seed"], "'--seed' requires an argument"),
        (["audit"], "Missing argument"),
        (["export", "one", "two"], "unexpected extra argument"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else "",
)
def test_arguments_that_do_not_parse_are_one_line_and_exit_2(arguments: list[str], message: str, command: Callable[..., Ended]) -> None:
    ended = command(*arguments)
    check_refused(ended, message)
    assert "--help" in ended.stderr


def test_a_model_folder_with_pickles_is_refused(command: Callable[..., Ended], tmp_path: Path) -> None:
    for part in ("unet", "text_encoder", "tokenizer", "scheduler"):
        (tmp_path / "model" / part).mkdir(parents=True)
    (tmp_path / "model" / "unet" / "config.json").write_text("{}")
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    check_refused(command("generate", "a red mug", "--preset", "smoke", "--set", "guidance.model=model"), "safetensors")
    assert not (tmp_path / "out").exists()


def test_progress_shows_the_residual(capfd: pytest.CaptureFixture[str]) -> None:
    with progress() as (report, begun):
        report("coarse", 5, 10, {"loss": 0.0307, "residual": 0.2539}, None)
        report("deliver", 3, 3, {}, None)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("coarse 5/10, residual 0.2539")
    assert lines[1] == "deliver 3/3"
    assert "loss" not in "".join(lines)
    assert set(begun) == {"coarse", "deliver"}


def test_an_audit_is_also_written_as_json_with_its_schema(command: Callable[..., Ended], finished, tmp_path: Path) -> None:
    ended = command("audit", str(finished.folder / "asset.glb"), "--json", "found.json")
    assert ended.returncode == 0
    assert (tmp_path / "found.json").read_bytes() == (finished.folder / "audit.json").read_bytes()


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


def test_doctor_says_why_a_card_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="a card", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(launch, "warp_missing", lambda device: "driver too old" if device.index == 1 else None)
    found = {finding.name: finding for finding in doctor._devices()}
    assert (found["cuda:0"].found, found["cuda:0"].detail) == (True, "a card, 80 GiB")
    assert (found["cuda:1"].found, found["cuda:1"].detail) == (False, "a card, 80 GiB; torch has cuda:1 and Warp has not: driver too old")


def test_doctor_lists_a_package_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(part: str) -> str:
        raise metadata.PackageNotFoundError(part)

    monkeypatch.setattr(metadata, "version", version)
    assert {(finding.found, finding.detail.split(";")[0]) for finding in doctor._parts() if finding.found} == {(True, "unknown")}
    monkeypatch.setattr(doctor, "find_spec", lambda module: None)
    assert all(not finding.found and finding.detail.startswith("not installed; pip install ") for finding in doctor._parts())
