"""A run's folder: what lies in it, and how files come there whole or not at all.

run.yaml            every resolved setting and the prompt
checkpoints/        coarse, fine (finished stages), *.part (a stage under way), reference (the surface before decimation)
metrics.jsonl       one line a step
asset.*, preview.png, audit.json, provenance.json
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dreamfusion_mesh.config import RunConfig, dump, resolve
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.stages.fit import State

SETTINGS = "run.yaml"
METRICS = "metrics.jsonl"
SMALLEST_FREE_SPACE = 200 * 2**20  # checkpoints, maps and meshes of a large run


@dataclass(frozen=True)
class RunFolder:
    path: Path

    def write(self, name: str, content: bytes) -> Path:
        """Put `content` at `name`: written beside, flushed, renamed. Raises BadInput where the folder cannot take it."""
        target = self.path / name
        part = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
                part = Path(file.name)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.chmod(0o644)
            part.replace(target)
        except OSError as error:
            if part is not None:
                part.unlink(missing_ok=True)
            raise _cannot_write(target, error) from error
        return target

    def save_state(self, name: str, state: State, notes: Mapping[str, str] | None = None) -> None:
        """Write tensors as checkpoints/NAME.safetensors."""
        from safetensors.torch import save

        self.write(f"checkpoints/{name}.safetensors", save({key: value.contiguous() for key, value in state.items()}, dict(notes or {})))

    def load_state(self, name: str) -> State | None:
        """The tensors of a checkpoint, None where there is none. Raises BadInput where the file is broken."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self.path / "checkpoints" / f"{name}.safetensors"
        if not file.is_file():
            return None
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{file}: not a readable checkpoint ({error}); delete it to redo its stage") from None

    def drop_state(self, name: str) -> None:
        (self.path / "checkpoints" / f"{name}.safetensors").unlink(missing_ok=True)

    def add_metrics(self, line: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise _cannot_write(self.path / METRICS, error) from error

    def trim_metrics(self, stage: str, done: int) -> None:
        """Drop the lines of steps that will be done again: those of `stage` after `done`."""
        file = self.path / METRICS
        if not file.is_file():
            return
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in lines if not ((read := json.loads(line))["stage"] == stage and read["step"] > done)]
        self.write(METRICS, "".join(line + "\n" for line in kept).encode())

    def config(self) -> RunConfig:
        """The settings this run was made with. Raises BadInput where run.yaml is missing or does not hold settings."""
        file = self.path / SETTINGS
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BadInput(f"{self.path}: holds no run ({SETTINGS} is missing); name a folder that `generate` wrote") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BadInput(f"{file}: cannot be read ({' '.join(str(error).split())})") from None
        if not isinstance(values, dict):
            raise BadInput(f"{file}: expected settings (name: value), found {type(values).__name__}")
        return resolve(values, origin=f"{file}: ")


def open_run(path: Path, config: RunConfig) -> RunFolder:
    """A folder for a run of `config`: new, or one that holds this very run and can go on.

    Raises BadInput where it holds something else, cannot be written, or its disk is full; then nothing in it was changed.
    """
    run = RunFolder(path)
    if path.exists() and not path.is_dir():
        raise BadInput(f"--out {path}: is a file; name a folder")
    if (path / SETTINGS).exists():
        found = run.config()
        if found != config:
            raise BadInput(f"--out {path}: holds another run ({_difference(found, config)}); name another folder, or delete this one first")
    elif path.is_dir() and any(path.iterdir()):
        raise BadInput(f"--out {path}: is not empty and holds no run; name a new or empty folder")
    _check_space(path)
    if not (path / SETTINGS).exists():
        run.write(SETTINGS, dump(config).encode())
    return run


def _check_space(path: Path) -> None:
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < SMALLEST_FREE_SPACE:
        have, need = f"{free / 2**20:.0f}", f"{SMALLEST_FREE_SPACE / 2**20:.0f}"
        raise BadInput(f"--out {path}: its disk has {have} MiB left, a run needs {need}; free some or name another folder")


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


def _cannot_write(target: Path, error: OSError) -> BadInput:
    remedy = "free some space or name another --out" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name a folder you may write to"
    return BadInput(f"{target}: cannot be written ({error.strerror or error}); {remedy}")
