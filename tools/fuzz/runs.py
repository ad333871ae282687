"""Changes of a run's folder: of one file in it, or of several that have to agree, so that no first check stops them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tools.fuzz.arguments import COSTLY
from tools.fuzz.mutate.raw import random_bytes
from tools.fuzz.mutate.safetensors import put_metadata

Change = Callable[[Path], None]
_TEXT = (".yaml", ".json", ".jsonl")
_LOCKS = [
    *(b"", b"\0" * 40, b"4000000\n", b"4000000\nfine", b"4000000\ncoarse\n", b"1\nfine", b"0", b"-1\nfine", b"9" * 70),
    *(b"4000000\n\x1b[2J", b"4000000\r\nfine", b"4000000\n" + b"x" * 100, "\u0663\nfine".encode(), b"4000000\n\xff", b"4000000 fine"),
]


def change_run(rng: Random, run: Path, mutate: Change) -> list[Path]:
    """Change the run in one of the ways below; `mutate` is that of a file. Returns what it changed beside by `mutate`."""
    files = sorted(file for file in run.rglob("*") if file.is_file())
    kinds: list[Callable[[], list[Path]]] = [
        lambda: _mutate_one(rng, files, mutate),
        lambda: _replace(rng, files),
        lambda: _leave_behind(rng, run, files),
        lambda: _swap_checkpoints(rng, run),
        lambda: _change_settings(rng, run),
        lambda: _change_listed(rng, run, mutate),
    ]
    return rng.choices(kinds, (50, 15, 9, 3, 12, 12 if (run / "result.json").exists() else 0))[0]()


def _mutate_one(rng: Random, files: list[Path], mutate: Change) -> list[Path]:
    """Any file, mostly one that the command reads."""
    text = [file for file in files if file.suffix in _TEXT]
    read = [file for file in files if file.name in ("fine.safetensors", "fine.part.safetensors", "coarse.safetensors")]
    mutate(rng.choice(rng.choices((text, read, files), (45, 40, 15))[0]))
    return []


def _replace(rng: Random, files: list[Path]) -> list[Path]:
    """Nothing, a folder, a pipe, a broken link, a link to itself, an empty file or another file of the run in the place of one."""
    file, other = rng.choice(files), rng.choice(files).read_bytes()
    file.unlink()
    match rng.randrange(7):
        case 0:
            file.mkdir()
        case 1:
            file.symlink_to("missing")
        case 2:
            file.symlink_to(file.name)
        case 3:
            file.write_bytes(b"")
        case 4:
            file.write_bytes(other)
        case 5:
            os.mkfifo(file)
    return [file]


def _leave_behind(rng: Random, run: Path, files: list[Path]) -> list[Path]:
    """What a killed process or another program leaves: a lock, a delivery or a file under way."""
    name = rng.choice((".lock", ".lock", ".lock", ".staged", ".asset.glb.0.part", "checkpoints/.fine.safetensors.0.part", "notes.txt"))
    place = run / name
    match rng.randrange(6):
        case 0:
            place.mkdir()
            shutil.copy(rng.choice(files), place)
        case 1:
            place.symlink_to(
                rng.choice(("../sentinel", "../../sentinel", "../../sentinel/secret.txt", "missing", place.name, "checkpoints"))
            )
        case 2:
            os.mkfifo(place)
        case _ if name == ".lock":
            place.write_bytes(rng.choice(_LOCKS))
        case _:
            place.write_bytes(random_bytes(rng))
    return [place]


def _swap_checkpoints(rng: Random, run: Path) -> list[Path]:
    files = sorted((run / "checkpoints").iterdir())
    one, other = rng.sample(files, 2)
    shutil.copy(one, other)
    return [other]


def _change_settings(rng: Random, run: Path) -> list[Path]:
    """Other settings in run.yaml, mostly sound ones, and alike in each checkpoint: those of a run whose tensors do not fit them."""
    file = run / "run.yaml"
    values = yaml.safe_load(file.read_text())
    places = [(group, key, f"{prefix}{key}") for group, prefix in _groups(values) for key in group if not isinstance(group[key], dict)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        group, key, name = rng.choice([place for place in places if place[2] not in ("device", "schema")])
        group[key] = rng.choice(COSTLY[name]) if name in COSTLY else _near(rng, group[key])
    text = yaml.safe_dump(values, sort_keys=False)
    file.write_text(text)
    checkpoints = sorted((run / "checkpoints").iterdir())
    for checkpoint in checkpoints:
        checkpoint.write_bytes(put_metadata(checkpoint.read_bytes(), "run.yaml", text))
    return [file, *checkpoints]


def _change_listed(rng: Random, run: Path, mutate: Change) -> list[Path]:
    """A changed file of a finished run, whose new hash result.json has."""
    file = run / "result.json"
    record = json.loads(file.read_text())
    changed = run / rng.choice([*record["files"], "audit.json", "audit.json", "provenance.json", "run.yaml"])
    mutate(changed)
    content = changed.read_bytes()
    record["files"][changed.relative_to(run).as_posix()] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    file.write_text(json.dumps(record))
    return [file]


def _groups(values: dict[str, Any], prefix: str = "") -> list[tuple[dict[str, Any], str]]:
    """Every mapping in it, and how the names in that begin."""
    found = [(values, prefix)]
    for key, value in values.items():
        if isinstance(value, dict):
            found += _groups(value, f"{prefix}{key}.")
    return found


def _near(rng: Random, value: Any) -> Any:
    """Another value of the same type, often one that is allowed."""
    match value:
        case bool():
            return not value
        case int():
            return rng.choice((0, 1, 2, value + 1, value * 2))
        case float():
            return rng.choice((0.0, 1.0, value / 2, value * 2, -value))
        case list():
            return rng.choice((value[::-1], [_near(rng, part) for part in value], [*value, *value]))
        case None:
            return rng.choice((0, 1, 0.5, "x"))
    return f"{value} x"
