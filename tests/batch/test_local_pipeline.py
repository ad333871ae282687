"""A batch of the pipeline's own runs: the files of each are those of a run by itself."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from diffusers import UNet2DConditionModel
from smoke_runs import CONFIG, PROMPT, SMALL_DELIVERY
from stub_rows import job
from tiny_folders import write_folder

from dreamfusion_mesh.batch.records import Attempt, Event, Options, Totals
from dreamfusion_mesh.batch.rows import PipelineRows
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.config import GuidanceSettings, change, load_config
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import fit, generate
from dreamfusion_mesh.run.result import Result
from dreamfusion_mesh.run.settings import read_settings
from dreamfusion_mesh.stages.fit import Halted, never, no_progress

ROOT = Path(__file__).parents[2]
COMPARED = ("asset.glb", "asset.obj", "asset.mtl", "asset_basecolor.png", "preview.png")
OTHER = change(
    CONFIG,
    [*SMALL_DELIVERY, "coarse.steps=4", "fine.steps=2", "guidance.scale=40", "guidance.negative_prompt=a blue chair"],
    None,
    ["guidance", "coarse", "fine", "texture", "asset"],
)


def assert_same_files(folder: Path, alone: Path) -> None:
    for name in COMPARED:
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), name


def test_rows_of_a_batch_have_the_files_of_runs_by_themselves(finished: Result, guidance: GuidanceModel, tmp_path: Path) -> None:
    """With different guidance through one loaded model; between them words that it does not know, after them a model that is missing."""
    jobs = [
        job("mushroom", PROMPT, CONFIG.seed, CONFIG),
        job("unknown", "xyzzy", 4, CONFIG),
        job("chair", "a blue chair", 5, OTHER),
        job("missing", "a red mug", 3, CONFIG.model_copy(update={"guidance": GuidanceSettings(model=str(tmp_path / "no model"))})),
    ]
    events: list[Event] = []
    assert run_batch(jobs, tmp_path / "out", Options(), events.append) == Totals(0, 2, 2, 0)
    for each, alone in ((jobs[0], finished), (jobs[2], generate(Attempt(jobs[2]).config, tmp_path / "alone", guidance=guidance))):
        assert_same_files(tmp_path / "out" / each.name, alone.folder)
        end = next(event.outcome for event in events if event.kind == "done" and event.name == each.name)
        assert end is not None
        assert (end.audit, end.warnings) == (tuple(row.status for row in alone.audit.rows), alone.warnings)
        assert end.triangles == alone.audit.rows[2].measured["triangles"]
        assert end.seconds > 0
    failed = {event.name: event for event in events if event.kind == "failed"}
    assert all(event.outcome and event.outcome.failure == "bad input" for event in failed.values())
    assert "knows none of: xyzzy" in failed["unknown"].message
    assert "no model" in failed["missing"].message
    for name in failed:
        assert (tmp_path / "out" / ".work" / name / "run.yaml").exists()
        assert (tmp_path / "out" / ".work" / name / "traceback.txt").exists()
    order = [(event.kind, event.name) for event in events if event.kind in ("started", "done")]
    assert order.index(("started", "chair")) < order.index(("done", "mushroom"))  # which was still to be unwrapped then


def test_rows_that_were_begun_on_another_device_go_on(guidance: GuidanceModel, tmp_path: Path) -> None:
    """`auto` stands for the other device: the settings differ, the device need not."""
    small = change(CONFIG, [*SMALL_DELIVERY, "coarse.steps=6", "fine.steps=1"], None, ["coarse", "fine", "texture", "asset"])
    here = Attempt(job("mug", "a red mug", 3, small))
    there = Attempt(job("mug", "a red mug", 3, small.model_copy(update={"device": "auto"})))
    rows, folder, asked = PipelineRows(strict=False, encodings=tmp_path / "encodings"), tmp_path / "mug", itertools.count()
    with pytest.raises(Halted):
        fit(here.config, folder, guidance=guidance, stop=lambda: next(asked) > 4)
    rows.load(there.job.settings)
    assert rows.fit(there, folder, no_progress, never)
    assert read_settings(folder / "run.yaml").device == "auto"
    assert rows.deliver(here, folder, no_progress).failure is None
    assert read_settings(folder / "run.yaml").device == "cpu"


PROMPTS = ["a red mug", "a blue chair", "a green apple", "a yellow lamp"]


def killed_batches(rows: int, kills: int, draws: random.Random, guidance: GuidanceModel, root: Path) -> None:
    """Kill a batch of the command line after a random number of its lines, and up to four seconds more, and go on with it."""
    table, out = root / "prompts.csv", root / "out"
    cells = [(f"row-{number}", PROMPTS[number % len(PROMPTS)], str(number)) for number in range(rows)]
    table.write_text("\n".join(map(",".join, [("name", "prompt", "seed"), *cells])), encoding="utf-8")
    command = [sys.executable, "-m", "dreamfusion_mesh", "batch", str(table), "--preset", "smoke", "--device", "cpu", "--out", str(out)]
    for _ in range(kills):
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            assert process.stderr is not None
            for _ in range(draws.randrange(5)):
                process.stderr.readline()
            time.sleep(draws.random() * 4)
            process.kill()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, prompt, seed in cells:
        config = load_config("smoke", (), {"prompt": prompt, "seed": int(seed), "device": "cpu"})
        assert_same_files(out / name, generate(config, root / "alone" / name, guidance=guidance).folder)
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
    assert sorted(entry["name"] for entry in entries if entry["status"] == "done") == sorted(name for name, _, _ in cells)
    assert not [entry for entry in (out / ".work").iterdir() if entry.is_dir() and entry.name != "encodings"]


@pytest.mark.sweep
@pytest.mark.timeout(7200)
def test_a_batch_killed_at_fifty_random_moments_gives_what_an_undisturbed_one_gives(guidance: GuidanceModel, tmp_path: Path) -> None:
    killed_batches(12, 50, random.Random(0), guidance, tmp_path)


def test_a_row_whose_loss_the_model_cannot_serve_fails_alone(tmp_path: Path) -> None:
    """The model is loaded for it as for any other, and is then there for the rows that follow."""
    folder = write_folder(tmp_path / "model")
    config = json.loads((folder / "unet" / "config.json").read_text())
    UNet2DConditionModel.from_config({**config, "time_cond_proj_dim": 8}).save_pretrained(folder / "unet")
    words, plain = (change(CONFIG, [f"guidance.model={folder}", f"guidance.loss={loss}"], None, ["guidance"]) for loss in ("csd", "sds"))
    rows = PipelineRows(strict=False, encodings=tmp_path / "encodings")
    rows.load(words)
    with pytest.raises(BadInput, match=r"^guidance\.loss csd: compares the words with none"):
        rows.fit(Attempt(job("words", settings=words)), tmp_path / "words", no_progress, never)
    assert not rows.fit(Attempt(job("plain", settings=plain)), tmp_path / "plain", no_progress, lambda: True), "it begins, and is stopped"
