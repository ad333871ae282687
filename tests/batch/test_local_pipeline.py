"""A batch of the pipeline's own runs: the files of each are those of a run by itself."""

from __future__ import annotations

from pathlib import Path

from smoke_runs import CONFIG
from stub_rows import job

from dreamfusion_mesh.batch.records import Attempt, Event, Options, Totals
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.pipeline import generate

COMPARED = ("asset.glb", "asset.obj", "asset.mtl", "asset_basecolor.png", "preview.png")
OTHER = CONFIG.model_copy(update={"guidance": CONFIG.guidance.model_copy(update={"scale": 40.0, "negative_prompt": "a blue chair"})})


def assert_same_files(folder: Path, alone: Path) -> None:
    for name in COMPARED:
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), name


def test_rows_of_a_batch_have_the_files_of_runs_by_themselves(guidance: GuidanceModel, tmp_path: Path) -> None:
    """With different guidance through one loaded model; between them words that it does not know, after them a model that is missing."""
    jobs = [
        job("mug", "a red mug", 3, CONFIG),
        job("unknown", "xyzzy", 4, CONFIG),
        job("chair", "a blue chair", 5, OTHER),
        job("missing", "a red mug", 3, CONFIG.model_copy(update={"guidance": GuidanceSettings(model=str(tmp_path / "no model"))})),
    ]
    events: list[Event] = []
    assert run_batch(jobs, tmp_path / "out", Options(), events.append) == Totals(0, 2, 2, 0)
    for each in (jobs[0], jobs[2]):
        alone = generate(Attempt(each).config, tmp_path / "alone" / each.name, guidance=guidance)
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
    assert order.index(("started", "chair")) < order.index(("done", "mug"))  # which was still to be unwrapped then
