"""A run's folder: the files in it, written whole or not at all; checkpoints, metrics and settings.

run.yaml            every resolved setting and the prompt
checkpoints/        coarse, fine (finished stages), *.part (a stage under way), reference (the surface before decimation)
metrics.jsonl       one line a step
asset.*, preview.png, audit.json, provenance.json
result.json         hashes of the files above: written last, it marks a finished run (result.py)
.lock               while a process works here (lock.py);  .staged/  files of a delivery under way (publish.py);  .*.part  a file under way
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from dreamfusion_mesh.config import RunConfig, dump, resolve
from dreamfusion_mesh.config.load import LONGEST_TEXT
from dreamfusion_mesh.config.schema import KEY, migrate
from dreamfusion_mesh.config.yaml_text import read_yaml
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import PARTS, MissingFile, append_file, is_file, read_text, remove_file, write_file
from dreamfusion_mesh.run.out import check_out
from dreamfusion_mesh.run.schema import CHECKPOINT, check_checkpoint
from dreamfusion_mesh.stages.checkpoint import State
from dreamfusion_mesh.stages.fit import Hooks, Report

SETTINGS = "run.yaml"
METRICS = "metrics.jsonl"
LOCK = ".lock"
STAGED = ".staged"
STAGE_CHECKPOINTS = ("checkpoints/coarse.safetensors", "checkpoints/fine.safetensors")


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
        """Remove what a killed process left: files and deliveries under way. Only while the folder's lock is held."""
        shutil.rmtree(self.path / STAGED, ignore_errors=True)
        for part in (*self.path.glob(PARTS), *self.path.glob(f"checkpoints/{PARTS}")):
            remove_file(part)
        for stage in ("coarse", "fine"):
            if self.has_state(stage):
                self.drop_state(f"{stage}.part")

    def save_state(self, name: str, state: State, notes: Mapping[str, Any] | None = None) -> None:
        """Write tensors, of any device, as checkpoints/NAME.safetensors, and `notes` (plain values) with them."""
        from safetensors.torch import save

        texts = {KEY: str(CHECKPOINT), **{key: json.dumps(value) for key, value in (notes or {}).items()}}
        self.write(_checkpoint(name), save({key: value.cpu().contiguous() for key, value in state.items()}, texts))

    def finish_stage(self, stage: str, state: State, notes: Mapping[str, Any] | None = None) -> None:
        """Write the checkpoint of a finished stage, and drop that of the stage under way."""
        self.save_state(stage, state, notes)
        self.drop_state(f"{stage}.part")

    def has_state(self, name: str) -> bool:
        """Whether checkpoints/NAME.safetensors is there, readable or not."""
        return is_file(self.path / _checkpoint(name))

    def load_state(self, name: str) -> State | None:
        """The tensors of a checkpoint, None where there is none. Raises BadInput where the file is broken or of another schema."""
        from safetensors.torch import load_file

        if not self.has_state(name):
            return None
        self.load_notes(name)
        return load_file(self.path / _checkpoint(name))

    def load_notes(self, name: str) -> dict[str, Any]:
        """The notes that a checkpoint was saved with. Raises as `load_state` does."""
        from safetensors import SafetensorError, safe_open

        file = self.path / _checkpoint(name)
        remedy = "delete it to redo its stage"
        try:
            with safe_open(str(file), framework="pt") as opened:
                texts = dict(opened.metadata() or {})
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{file}: not a readable checkpoint ({error}); {remedy}") from None
        check_checkpoint(str(file), texts, remedy)
        try:
            return {key: json.loads(text) for key, text in texts.items() if key != KEY}
        except ValueError as error:
            raise BadInput(f"{file}: its notes cannot be read ({error}); {remedy}") from None

    def drop_state(self, name: str) -> None:
        """Remove a checkpoint where there is one."""
        remove_file(self.path / _checkpoint(name))

    def hooks(self, stage: str, report: Report) -> tuple[Hooks, Callable[[], dict[str, float]]]:
        """How a stage resumes from this folder and leaves its checkpoints and metrics there; and its stopwatch.

        That gives the seconds by the stage's name: those since this call, and those up to the checkpoint that the stage goes on from.
        """
        part, started = f"{stage}.part", perf_counter()
        resume = self.load_state(part)
        earlier = self.load_notes(part).get("seconds", {}).get(stage, 0.0) if resume else 0.0
        self.trim_metrics(stage, int(resume["fit.counts"][0]) if resume else 0)

        def record(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            self.add_metrics({"stage": stage, "step": done, **{key: round(value, 6) for key, value in figures.items()}})
            report(stage, done, total, figures)

        def seconds() -> dict[str, float]:
            return {stage: round(earlier + perf_counter() - started, 3)}

        return Hooks(record, lambda state: self.save_state(part, state, {"seconds": seconds()}), resume), seconds

    def add_metrics(self, line: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        append_file(self.path / METRICS, (json.dumps(line) + "\n").encode())

    def trim_metrics(self, stage: str, done: int) -> None:
        """Drop the lines of steps that will be done again: those of `stage` after `done`."""
        file = self.path / METRICS
        if not is_file(file):
            return
        lines = [line for line in read_text(file).splitlines() if line.endswith("}")]
        remaining = [line for line in lines if not ((read := json.loads(line))["stage"] == stage and read["step"] > done)]
        self.write(METRICS, "".join(line + "\n" for line in remaining).encode())

    def keep_config(self, config: RunConfig) -> None:
        """Write run.yaml where it is missing. Raises BadInput where the folder cannot take it."""
        if not (self.path / SETTINGS).exists():
            self.write(SETTINGS, dump(config).encode())

    def config(self) -> RunConfig:
        """The settings this run was made with. Raises BadInput where run.yaml is missing or does not hold settings."""
        file = self.path / SETTINGS
        try:
            values = read_yaml(read_text(file, LONGEST_TEXT), str(file))
        except MissingFile:
            raise BadInput(f"{self.path}: holds no run ({SETTINGS} is missing); name a folder that `generate` wrote") from None
        if not isinstance(values, dict):
            raise BadInput(f"{file}: expected settings (name: value), found {type(values).__name__}")
        return resolve(migrate(values, str(file)), origin=f"{file}: ")


def find_run(path: Path, config: RunConfig) -> RunFolder:
    """A folder that can take a run of `config`: new, empty, or with this very run; raises BadInput for another. Writes nothing."""
    run = RunFolder(path)
    check_out(path)
    if (path / SETTINGS).exists():
        found = run.config()
        if found != config:
            raise BadInput(f"--out {path}: holds another run ({_difference(found, config)}); name another folder, or delete this one first")
    elif path.is_dir() and not all(_is_leftover(entry.name) for entry in path.iterdir()):
        raise BadInput(f"--out {path}: is not empty and holds no run; name a new or empty folder")
    return run


def _is_leftover(name: str) -> bool:
    """Whether a file is what a process that was killed before run.yaml was there has left."""
    return name == LOCK or (name.startswith(f".{SETTINGS}.") and name.endswith(".part"))


def _checkpoint(name: str) -> str:
    return f"checkpoints/{name}.safetensors"


def check_changes(found: RunConfig, wanted: RunConfig, groups: Sequence[str]) -> None:
    """Raises BadInput where a setting outside `groups` differs from those that the run was made with."""
    rest = wanted.model_copy(update={name: getattr(found, name) for name in groups})
    if rest != found:
        raise BadInput(f"export: {_difference(found, rest)}; only settings of {', '.join(groups)} may change here")


def _difference(found: RunConfig, wanted: RunConfig) -> str:
    """The first setting in which two runs differ, as 'name is A there, B here'."""
    for name, here in _flat(wanted.model_dump(mode="json")).items():
        there = _flat(found.model_dump(mode="json")).get(name)
        if there != here:
            return f"{name} is {there!r} there, {here!r} here"
    return "the same settings"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
