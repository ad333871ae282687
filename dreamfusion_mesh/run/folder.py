"""A run's folder: the files in it, written whole or not at all; checkpoints, metrics and settings.

run.yaml            every resolved setting and the prompt
checkpoints/        coarse, fine (finished stages), *.part (a stage under way), reference (the surface before decimation)
metrics.jsonl       one line a step
asset.*, preview.png, inspection.png, turntable.*, metrics.png, audit.json, provenance.json
result.json         hashes of the files above: written last, it marks a finished run (result.py)
.lock               while a process works here (lock.py);  .staged/  files of a delivery under way (publish.py);  .*.part  a file under way
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from dreamfusion_mesh.config import RunConfig, dump
from dreamfusion_mesh.config.load import LONGEST_TEXT
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import PARTS, kind_of, read_text, remove_file, shown, write_file
from dreamfusion_mesh.run.checkpoints import checkpoint_bytes, is_checkpoint, read_checkpoint, read_notes, remedy
from dreamfusion_mesh.run.metrics import MetricsLog
from dreamfusion_mesh.run.out import AUDIT_FILE, CHECKPOINT_FOLDER, METRICS, PROVENANCE_FILE, RESULT_FILE, STAGED, checkpoint_name
from dreamfusion_mesh.run.settings import SETTINGS, read_settings
from dreamfusion_mesh.stages.checkpoint import State
from dreamfusion_mesh.stages.fit import Hooks, Report, Stop, never
from dreamfusion_mesh.stages.restore import fits, step_counts
from dreamfusion_mesh.stages.scene import Scene

STAGE_CHECKPOINTS = (checkpoint_name("coarse"), checkpoint_name("fine"))
CHECKPOINTS = ("coarse.part", "coarse", "fine.part", "fine", "reference")

_T = TypeVar("_T")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, read and written by name below `path`, which need not exist before the first write."""

    path: Path

    def write(self, name: str, content: bytes) -> Path:
        """Put `content` at `name`, as files.write_file does. Raises BadInput where the folder cannot take it."""
        target = self.path / name
        write_file(target, content)
        return target

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """`write` for plain values. Raises as it does."""
        return self.write(name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def remove_leftovers(self) -> None:
        """Remove what a killed process left: files and deliveries under way. Only while the folder's lock is held.

        Raises BadInput where something else than a file has the name of a checkpoint or a record, rather than when that is to be written.
        """
        for record in (RESULT_FILE, AUDIT_FILE, PROVENANCE_FILE):
            if (kind := kind_of(self.path / record)) not in ("", "file"):
                raise BadInput(f"{shown(self.path / record)}: is a {kind}, not a file; delete it")
        staged = self.path / STAGED
        if staged.is_symlink() or not staged.is_dir():
            remove_file(staged)
        shutil.rmtree(staged, ignore_errors=True)
        for part in (*self.path.glob(PARTS), *self.path.glob(f"{CHECKPOINT_FOLDER}/{PARTS}")):
            remove_file(part)
        there = {name: self.has_state(name) for name in CHECKPOINTS}
        for stage in ("coarse", "fine"):
            if there[stage]:
                self.drop_state(f"{stage}.part")

    def save_state(self, name: str, state: State, notes: Mapping[str, Any] | None = None) -> None:
        """Write tensors, of any device, as checkpoints/NAME.safetensors, and `notes` (plain values) with them."""
        self.write(checkpoint_name(name), checkpoint_bytes(name, state, notes or {}, self._settings()))

    def finish_stage(self, stage: str, state: State, notes: Mapping[str, Any] | None = None) -> None:
        """Write the checkpoint of a finished stage, and drop that of the stage under way."""
        self.save_state(stage, state, notes)
        self.drop_state(f"{stage}.part")

    def has_state(self, name: str) -> bool:
        """Whether checkpoints/NAME.safetensors is there, readable or not. Raises BadInput where something else has its name."""
        return is_checkpoint(self.path / checkpoint_name(name))

    def load_state(self, name: str) -> State | None:
        """The tensors of a checkpoint, None where there is none.

        Raises BadInput where the file is broken, of another schema, another checkpoint under this name, or of a run with other settings.
        """
        loaded = self._load(name)
        return None if loaded is None else loaded[0]

    def load_notes(self, name: str) -> dict[str, Any]:
        """The notes that a checkpoint was saved with. Raises as `load_state` does, and where there is none."""
        return read_notes(self.path / checkpoint_name(name), name, self._settings())

    def restore(self, name: str, make: Callable[[State], _T]) -> _T:
        """What `make`, which raises ValueError where they do not fit, makes of a checkpoint's tensors.

        Raises BadInput then, which names the file, where there is none, and as `load_state` does.
        """
        file = self.path / checkpoint_name(name)
        with fits(shown(file), remedy(file)):
            if (state := self.load_state(name)) is None:
                raise BadInput(f"{shown(file)}: is missing")
            return make(state)

    def drop_state(self, name: str) -> None:
        """Remove a checkpoint where there is one."""
        remove_file(self.path / checkpoint_name(name))

    def hooks(self, stage: str, report: Report, stop: Stop = never) -> tuple[Hooks, Callable[[], dict[str, float]]]:
        """How a stage resumes from this folder and leaves its checkpoints and metrics there; and its stopwatch.

        That gives the seconds by the stage's name: those since this call, and those up to the checkpoint that the stage goes on from.
        Raises as `load_state` does.
        """
        part, started = f"{stage}.part", perf_counter()
        source = shown(self.path / checkpoint_name(part))
        resume, notes = self._load(part) or (None, {})
        earlier = notes.get("seconds", {}).get(stage, 0.0)
        with fits(source):
            done = 0 if resume is None else step_counts(resume)[0]
        self.metrics.trim(stage, done)

        def record(stage: str, done: int, total: int, figures: Mapping[str, float], scene: Scene | None) -> None:
            self.metrics.add({"stage": stage, "step": done, **{key: round(value, 6) for key, value in figures.items()}})
            report(stage, done, total, figures, scene)

        def seconds() -> dict[str, float]:
            return {stage: round(earlier + perf_counter() - started, 3)}

        def save(state: State) -> None:
            self.save_state(part, state, {"seconds": seconds()})

        return Hooks(record, save, resume, source, stop=stop), seconds

    @cached_property
    def metrics(self) -> MetricsLog:
        """The run's log."""
        return MetricsLog(self.path / METRICS, self.write)

    def keep_config(self, config: RunConfig) -> None:
        """Write run.yaml where it is missing. Raises BadInput where the folder cannot take it."""
        if not (self.path / SETTINGS).exists():
            self.write(SETTINGS, dump(config).encode())

    def config(self) -> RunConfig:
        """The settings this run was made with.

        Raises BadInput where there is no run.yaml, where it holds no settings of a run (ForeignSettings), or some that are not allowed.
        """
        file = self.path / SETTINGS
        if not kind_of(file) and not os.path.islink(file):
            raise BadInput(f"{shown(self.path)}: holds no run ({SETTINGS} is missing); name a folder that `generate` wrote")
        return read_settings(file)

    def _settings(self) -> str | None:
        """The text of run.yaml, None where there is none that can be read."""
        try:
            return read_text(self.path / SETTINGS, LONGEST_TEXT)
        except BadInput:
            return None

    def _load(self, name: str) -> tuple[State, dict[str, Any]] | None:
        if not self.has_state(name):
            return None
        return read_checkpoint(self.path / checkpoint_name(name), name, self._settings())
