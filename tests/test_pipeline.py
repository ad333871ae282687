"""The whole way on the smallest preset: files, audit, validity, determinism, resume, export, wheel."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dreamfusion_mesh.config import GuidanceSettings, change, load_config
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.pipeline import Result, audit_file, export, generate
from dreamfusion_mesh.run.folder import RunFolder

ROOT = Path(__file__).parents[1]
PROMPT = "a red mushroom with white parts"
CONFIG = load_config("smoke", ["device=cpu"], {"prompt": PROMPT, "seed": 3})
FILES = {"asset.glb", "asset.obj", "asset.mtl", "preview.png", "audit.json", "run.yaml", "provenance.json", "metrics.jsonl"}


@pytest.fixture(scope="module")
def guidance():
    return load_guidance(CONFIG.guidance, torch.device("cpu"))


@pytest.fixture(scope="module")
def finished(guidance, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return generate(CONFIG, tmp_path_factory.mktemp("finished") / "run", guidance=guidance)


def glb(result: Result) -> bytes:
    return (result.folder / "asset.glb").read_bytes()


def test_every_file_is_there(finished: Result) -> None:
    names = {file.name for file in finished.folder.iterdir()}
    assert names >= FILES
    assert any(name.startswith("asset") and name.endswith(".png") for name in names)
    assert not [name for name in names if name.startswith(".")]
    assert all(path.is_file() for path in finished.files.values())
    parts = {file.name for file in (finished.folder / "checkpoints").iterdir()}
    assert parts == {"coarse.safetensors", "fine.safetensors", "reference.safetensors"}


def test_the_audit_passes_and_says_the_same_of_the_written_file(finished: Result) -> None:
    failed = [(row.number, row.detail) for row in finished.audit.rows if row.status == "fail"]
    assert not failed
    assert {row.number for row in finished.audit.rows if row.status == "pass"} >= {1, 2, 3, 4, 5, 6, 7, 13}
    again = audit_file(finished.folder / "asset.glb")
    assert again.to_json() == json.loads((finished.folder / "audit.json").read_text())


def test_the_khronos_validator_has_nothing_to_say(finished: Result, khronos) -> None:
    issues = khronos(finished.folder / "asset.glb")["issues"]
    assert issues["numErrors"] == 0, issues
    assert issues["numWarnings"] == 0, issues


def test_settings_and_provenance_say_how_to_make_it_again(finished: Result) -> None:
    assert load_config(str(finished.folder / "run.yaml")) == CONFIG
    notes = json.loads((finished.folder / "provenance.json").read_text())
    assert notes["prompt"] == PROMPT
    assert notes["seed"] == 3
    assert notes["settings"] == CONFIG.model_dump(mode="json")
    assert notes["guidance"]["licence"] == "Apache-2.0"
    assert notes["rasterizer"]["licence"] == "Apache-2.0"
    assert set(notes["files"]) >= {"asset.glb", "asset.obj", "asset.mtl", "preview.png"}
    assert str(finished.folder) not in json.dumps(notes)


def test_metrics_hold_one_line_a_step(finished: Result) -> None:
    lines = [json.loads(line) for line in (finished.folder / "metrics.jsonl").read_text().splitlines()]
    wanted = [("coarse", n + 1) for n in range(CONFIG.coarse.steps)] + [("fine", n + 1) for n in range(CONFIG.fine.steps)]
    assert [(line["stage"], line["step"]) for line in lines] == wanted
    assert all({"residual", "render_ms", "guidance_ms", "step_ms", "skipped"} <= set(line) for line in lines)


def test_the_preview_shows_something(finished: Result) -> None:
    picture = np.asarray(Image.open(finished.folder / "preview.png").convert("RGB")).astype(float)
    assert picture.std() > 5


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(finished: Result, guidance, tmp_path: Path) -> None:
    assert glb(generate(CONFIG, tmp_path / "again", guidance=guidance)) == glb(finished)
    other = CONFIG.model_copy(update={"seed": 4})
    assert glb(generate(other, tmp_path / "other", guidance=guidance)) != glb(finished)


def stop_at(stage: str, step: int):
    def report(name: str, done: int, total: int, figures: object) -> None:
        if (name, done) == (stage, step):
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize(("stage", "step"), [("coarse", 6), ("coarse", 12), ("fine", 3)])
def test_a_stopped_run_goes_on_to_the_same_bytes(stage: str, step: int, finished: Result, guidance, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        generate(CONFIG, tmp_path / "run", guidance=guidance, report=stop_at(stage, step))
    steps: list[tuple[str, int]] = []
    result = generate(CONFIG, tmp_path / "run", guidance=guidance, report=lambda name, done, *_: steps.append((name, done)))
    first = {("coarse", 6): 7, ("coarse", 12): 12, ("fine", 3): 4}[stage, step]  # after the last checkpoint; none is taken at the last step
    assert steps[0] == (stage, first)
    assert glb(result) == glb(finished)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == CONFIG.coarse.steps + CONFIG.fine.steps


def test_a_run_killed_after_the_coarse_stage_resumes_there(finished: Result, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dreamfusion_mesh.cli", "generate", PROMPT, "--preset", "smoke", "--seed", "3", "--device", "cpu"]
    command += ["--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    while not (tmp_path / "run" / "checkpoints" / "coarse.safetensors").exists():
        assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "run" / "asset.glb").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "coarse" not in again.stderr  # its steps were not done again
    assert (tmp_path / "run" / "asset.glb").read_bytes() == glb(finished)


def test_export_needs_the_checkpoint_alone(finished: Result, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("run.yaml", "checkpoints/fine.safetensors"):
        (folder / name).write_bytes((finished.folder / name).read_bytes())
    result = export(folder)
    notes = json.loads((folder / "provenance.json").read_text())
    assert result.audit.passed
    assert notes["guidance"]["model"] == "embedded"
    (folder / "provenance.json").write_bytes((finished.folder / "provenance.json").read_bytes())
    assert glb(export(folder)) == glb(finished)
    smaller = change(CONFIG, ["texture.size=128", "mesh.triangles=500", "asset.longest_side=2.5"], None, ["texture", "mesh", "asset"])
    export(folder, smaller)
    assert RunFolder(folder).config() == smaller
    assert glb(finished) != (folder / "asset.glb").read_bytes()
    rows = {row.number: row for row in audit_file(folder / "asset.glb").rows}
    assert rows[13].status == "pass"
    assert rows[3].measured["triangles"] <= 500


def test_export_of_an_unfinished_run_says_how_to_go_on(guidance, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        generate(CONFIG, tmp_path / "run", guidance=guidance, report=stop_at("coarse", 5))
    with pytest.raises(BadInput, match="fine stage is not finished"):
        export(tmp_path / "run")


class FaultyScore:
    """A score model whose predictions turn to NaN after `good` evaluations."""

    def __init__(self, inner, good: int) -> None:
        self.schedule, self.together, self.warnings, self.encode = inner.schedule, inner.together, inner.warnings, inner.encode
        self.inner, self.left = inner, good

    def answer(self, noisy, t, views):
        self.left -= 1
        answers = self.inner.answer(noisy, t, views)
        return answers if self.left >= 0 else replace(answers, text=answers.text * float("nan"))


class FaultyGuidance:
    def __init__(self, inner, good: int) -> None:
        self.inner, self.good, self.provenance = inner, good, inner.provenance

    def for_prompt(self, prompt: str, settings: GuidanceSettings) -> FaultyScore:
        return FaultyScore(self.inner.for_prompt(prompt, settings), self.good)


def test_nan_from_guidance_stops_the_run_and_keeps_the_last_good_checkpoint(finished: Result, guidance, tmp_path: Path) -> None:
    config = load_config("smoke", ["device=cpu", "coarse.steps=30"], {"prompt": PROMPT, "seed": 3})
    with pytest.raises(RunFailed, match="10 steps"):
        generate(config, tmp_path / "run", guidance=FaultyGuidance(guidance, good=9))
    assert not (tmp_path / "run" / "asset.glb").exists()
    state = RunFolder(tmp_path / "run").load_state("coarse.part")
    assert state is not None
    assert int(state["fit.counts"][0]) == 9
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())


def test_an_empty_field_is_named_with_its_range(guidance, tmp_path: Path) -> None:
    changes = ["device=cpu", "coarse.steps=1", "coarse.field.blob_density=0", "coarse.field.density_bias=-30", "coarse.learning_rate=1e-6"]
    config = load_config("smoke", changes, {"prompt": PROMPT})
    with pytest.raises(RunFailed, match="density"):
        generate(config, tmp_path / "run", guidance=guidance)
    assert not (tmp_path / "run" / "asset.glb").exists()


def test_the_wheel_carries_presets_and_model_and_works_from_any_folder(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for preset in (ROOT / "configs").glob("*.yaml"):
        assert yaml.safe_load((site / "dreamfusion_mesh" / "presets" / preset.name).read_text()) == yaml.safe_load(preset.read_text())
    (tmp_path / "elsewhere").mkdir()
    code = "import dreamfusion_mesh, sys; print(dreamfusion_mesh.__file__, file=sys.stderr); from dreamfusion_mesh.cli import main; main()"
    command = [sys.executable, "-c", code, "generate", "a blue chair", "--preset", "smoke", "--device", "cpu", "--set", "coarse.steps=2"]
    env = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "elsewhere", env=env, timeout=300)
    assert result.returncode == 0, result.stderr
    assert str(site) in result.stderr.splitlines()[0]
    assert (tmp_path / "elsewhere" / "out" / "a-blue-chair" / "asset.glb").is_file()
