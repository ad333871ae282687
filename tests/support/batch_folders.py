"""Tiny jobs and run folders for tests of batches: what the plan and the manifest look at, and no more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from dreamfusion_mesh.batch.entry import Entry, make_entry
from dreamfusion_mesh.batch.records import Attempt, Job, Outcome
from dreamfusion_mesh.config import RunConfig, dump

PASSED = ("pass",) * 15


def make_job(name: str = "mug", seed: int = 7, steps: int = 30, prompt: str = "a red mug") -> Job:
    """A job whose key is that of its settings; `steps` of the coarse stage."""
    settings = RunConfig.model_validate({"coarse": {"steps": steps}})
    return Job(name, prompt, seed, settings, hashlib.sha256(f"{prompt} {seed} {steps}".encode()).hexdigest(), line=2)


def begin(folder: Path, attempt: Attempt, *, fitted: bool = False) -> Path:
    """A run folder as an attempt that was stopped leaves it; returns it."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.yaml").write_text(dump(attempt.config))
    (folder / "checkpoints" / ("fine.safetensors" if fitted else "coarse.safetensors")).write_bytes(b"tensors")
    return folder


def finish(folder: Path, attempt: Attempt, audit: Sequence[str] = PASSED, warnings: Sequence[str] = ()) -> Path:
    """A finished run folder, with the attempt's seed in its asset; returns it."""
    begin(folder, attempt, fitted=True)
    rows = [{"number": at, "property": f"row {at}", "status": status, "measured": {}} for at, status in enumerate(audit, 1)]
    if len(rows) > 2:
        rows[2]["measured"] = {"triangles": 1234, "allowed": 9000}
    (folder / "asset.glb").write_text(f"{attempt.job.key} {attempt.seed}")
    (folder / "audit.json").write_text(json.dumps({"schema": 1, "rows": rows}))
    (folder / "provenance.json").write_text(json.dumps({"schema": 1, "seconds": {"coarse": 1.5, "fine": 2.25}}))
    files = {name: {} for name in contents(folder)}
    (folder / "result.json").write_text(json.dumps({"schema": 1, "warnings": list(warnings), "files": files}))
    return folder


def started(attempt: Attempt) -> Entry:
    """Its entry in the manifest."""
    return make_entry(attempt, "started")


def done(attempt: Attempt, audit: Sequence[str] = PASSED) -> Entry:
    """Its entry in the manifest."""
    return make_entry(attempt, "done", Outcome(seconds=3.75, triangles=1234, audit=tuple(audit)))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path there."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
