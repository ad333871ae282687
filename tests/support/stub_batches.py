"""Batches of stub rows in the tests' own process, and what is looked up in their folders."""

from __future__ import annotations

from pathlib import Path

from stub_rows import SETTINGS, StubRows, notes

from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import read_manifest
from dreamfusion_mesh.batch.records import Event, Job, Options, Totals, Watch
from dreamfusion_mesh.batch.run import run_batch
from dreamfusion_mesh.config import RunConfig


class Batch:
    """A folder, the events of the last batch in it, and what the processes of all noted."""

    def __init__(self, root: Path) -> None:
        self.out, self._notes = root / "out", root / "notes"
        self._notes.mkdir()
        self.events: list[Event] = []

    def run(self, jobs: list[Job], *, size: int = 64, watch: Watch | None = None, **options: object) -> Totals:
        """Run these jobs; keyword arguments are those of Options."""
        self.events.clear()
        given = Options(**options)  # type: ignore[arg-type]
        return run_batch(jobs, self.out, given, watch or self.events.append, StubRows(self._notes, size, given.strict))

    def kinds(self, name: str) -> list[str]:
        """Of the events about a job."""
        return [event.kind for event in self.events if event.name == name]

    def failures(self) -> dict[str, str | None]:
        """How each job of the manifest ended last: None where it is done."""
        found = read_manifest(BatchFolder(self.out).manifest)
        assert all(entry.status in ("done", "failed") for entry in found.values())
        return {name: entry.failure for name, entry in found.items()}

    def message(self, name: str) -> str:
        """Of the job's last event."""
        return [event.message for event in self.events if event.name == name][-1]

    def asset(self, name: str) -> bytes:
        """The job's asset.glb."""
        return (self.out / name / "asset.glb").read_bytes()

    def traceback(self, attempt: str) -> str:
        """What an attempt that failed left."""
        return (self.out / ".work" / attempt / "traceback.txt").read_text(encoding="utf-8")

    def notes(self) -> list[str]:
        """What all processes noted."""
        return notes(self._notes)


def with_model(model: str) -> RunConfig:
    """Settings of another model: of another group."""
    return SETTINGS.model_copy(update={"guidance": SETTINGS.guidance.model_copy(update={"model": model})})
