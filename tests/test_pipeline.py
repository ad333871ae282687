"""The whole way on the smallest preset: files, audit, validity, determinism, resume, failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from outcomes import poor_outcome
from PIL import Image
from smoke_runs import CONFIG, PROMPT, glb, stop_at

from dreamfusion_mesh.config import GuidanceSettings, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import export, fit, generate
from dreamfusion_mesh.records.diffusion import PromptEncoding
from dreamfusion_mesh.run.audit_file import audit_file
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.result import Result, audit_document

SUPPORT = Path(__file__).parent / "support"
FILES = {"asset.glb", "asset.obj", "asset.mtl", "preview.png", "audit.json", "run.yaml", "provenance.json", "metrics.jsonl", "result.json"}


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
    assert again == finished.audit
    assert audit_document(again) == json.loads((finished.folder / "audit.json").read_text())


def test_the_khronos_validator_reports_no_error_and_no_warning(finished: Result, khronos) -> None:
    issues = khronos(finished.folder / "asset.glb")["issues"]
    assert issues["numErrors"] == 0, issues
    assert issues["numWarnings"] == 0, issues


def test_settings_and_provenance_say_how_to_make_it_again(finished: Result) -> None:
    assert load_config(str(finished.folder / "run.yaml")) == CONFIG
    notes = json.loads((finished.folder / "provenance.json").read_text())
    assert notes["schema"] == 1
    assert notes["prompt"] == PROMPT
    assert notes["seed"] == 3
    assert notes["settings"] == CONFIG.model_dump(mode="json")
    assert notes["guidance"]["licence"] == "Apache-2.0"
    assert notes["rasterizer"]["licence"] == "Apache-2.0"
    assert notes["device"] == "cpu"
    assert notes["generator"].startswith("dreamfusion_mesh ")
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
    assert glb(generate(CONFIG, tmp_path / "again", guidance=guidance).folder) == glb(finished.folder)
    fit(CONFIG.model_copy(update={"seed": 4}), tmp_path / "other", guidance=guidance)
    ours, other = (RunFolder(folder).load_state("fine") for folder in (finished.folder, tmp_path / "other"))
    assert ours is not None
    assert other is not None
    assert not torch.equal(ours["mesh.vertices"], other["mesh.vertices"])  # which the seed in a GLB's provenance alone does not show


def first_step(run: RunFolder) -> tuple[str, int]:
    """The step after the last checkpoint."""
    stage = "fine" if run.has_state("coarse") else "coarse"
    state = run.load_state(f"{stage}.part")
    return stage, 1 + (int(state["fit.counts"][0]) if state else 0)


def test_a_run_stopped_in_each_stage_goes_on_to_the_same_bytes(finished: Result, guidance, tmp_path: Path) -> None:
    run, steps, firsts = RunFolder(tmp_path / "run"), [], []
    for stage, step in (("coarse", 6), ("coarse", 12), ("fine", 3), ("deliver", 2)):
        stop, steps = stop_at(stage, step), []
        firsts.append(first_step(run))

        def report(name: str, done: int, total: int, figures: object, scene: object, stop=stop, steps=steps) -> None:
            steps.append((name, done))
            stop(name, done, total, figures, scene)

        with pytest.raises(KeyboardInterrupt):
            generate(CONFIG, run.path, guidance=guidance, report=report)
        assert steps[0] == firsts[-1]
        assert steps[-1] == (stage, step)
        assert not (run.path / "asset.glb").exists()
    assert firsts == sorted(set(firsts))  # none began where the one before did
    steps.clear()
    result = generate(CONFIG, run.path, report=lambda name, done, *_: steps.append((name, done)))
    assert steps[0] == ("deliver", 0)
    assert {file.name for file in run.path.rglob("*")} == {file.name for file in finished.folder.rglob("*")}
    assert glb(run.path) == glb(finished.folder)
    assert result.folder == run.path
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == CONFIG.coarse.steps + CONFIG.fine.steps


HOLDER = """
import sys
from pathlib import Path

from smoke_runs import CONFIG

from dreamfusion_mesh.pipeline import generate

def wait(stage, done, total, figures, scene):
    if (stage, done) == ("fine", 1):
        print("there", flush=True)
        sys.stdin.read()

generate(CONFIG, Path(sys.argv[1]), report=wait)
"""


def test_a_running_process_keeps_others_out_and_a_killed_one_is_resumed(
    finished: Result, guidance, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunFolder(tmp_path / "run")
    command = [sys.executable, "-c", HOLDER, str(run.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SUPPORT), str(SUPPORT.parents[1])))}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        for work in (lambda: generate(CONFIG, run.path, guidance=guidance), lambda: export(run.path)):
            with pytest.raises(BadInput, match=rf"is in use by process {process.pid}, .*wait until it is done"):
                work()
        process.send_signal(signal.SIGKILL)
    first, steps = first_step(run), []
    assert first[0] == "fine"
    result = generate(CONFIG, run.path, guidance=guidance, report=lambda name, done, *_: steps.append((name, done)))
    assert steps[0] == first
    assert glb(result.folder) == glb(finished.folder)
    assert not [file.name for file in run.path.iterdir() if file.name.startswith(".")]
    killed = f"{run.path}: the last process here ({process.pid}) was ended by the system or by a kill in the stage fine, perhaps for want"
    assert [record.getMessage()[: len(killed)] for record in caplog.records if "ended by" in record.getMessage()] == [killed]
    assert "lower fine.tet_size (24), fine.size (64) or fine.views (2)" in caplog.text


def test_export_of_an_unfinished_run_says_how_to_go_on(guidance, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        generate(CONFIG, tmp_path / "run", guidance=guidance, report=stop_at("coarse", 5))
    with pytest.raises(BadInput, match="fine stage is not finished"):
        export(tmp_path / "run")


class FaultyScore:
    """A score that turns to NaN after `good` questions."""

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

    def for_prompt(self, prompt: str, settings: GuidanceSettings, encoding: PromptEncoding | None = None) -> FaultyScore:
        return FaultyScore(self.inner.for_prompt(prompt, settings, encoding), self.good)


def test_nan_from_guidance_stops_the_run_and_keeps_the_last_good_checkpoint(finished: Result, guidance, tmp_path: Path) -> None:
    config = load_config("smoke", ["device=cpu", "coarse.steps=30"], {"prompt": PROMPT, "seed": 3})
    with poor_outcome("diverged", "10 steps"):
        generate(config, tmp_path / "run", guidance=FaultyGuidance(guidance, good=9))
    assert not (tmp_path / "run" / "asset.glb").exists()
    state = RunFolder(tmp_path / "run").load_state("coarse.part")
    assert state is not None
    assert int(state["fit.counts"][0]) == 9
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())


def test_an_empty_field_is_named_with_its_range(guidance, tmp_path: Path) -> None:
    changes = ["device=cpu", "coarse.steps=1", "coarse.field.blob_density=0", "coarse.field.density_bias=-30", "coarse.learning_rate=1e-6"]
    config = load_config("smoke", changes, {"prompt": PROMPT})
    with poor_outcome("empty", "density"):
        generate(config, tmp_path / "run", guidance=guidance)
    assert not (tmp_path / "run" / "asset.glb").exists()
