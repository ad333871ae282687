"""The settings of a table's rows: a cell beats a flag, a flag beats the preset. Resolved once for all rows whose cells are alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dreamfusion_mesh.config import Problem, RunConfig, merge, model_settings, read_cell, read_values, validate
from dreamfusion_mesh.errors import BadInput

PRESET = "preset"
_KEY_DIGITS = 32
_Hash = Any  # hashlib's objects have no public type


@dataclass(frozen=True)
class Flags:
    """What the command line gives to all rows, as `generate` takes it: preset, "a.b=value" changes, seed, device, commercial, model."""

    preset: str | None = None
    changes: Sequence[str] = ()
    seed: int | None = None
    device: str | None = None
    commercial: bool = False
    model: str | None = None

    def overrides(self) -> dict[str, Any]:
        """The values of flags that are given."""
        given = {"seed": self.seed, "device": self.device, "commercial": self.commercial or None}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Resolved:
    """The settings of rows whose cells are alike.

    settings  without prompt and seed; None where something is wrong
    seed      of rows that give none; None where it is not known for what is wrong
    faults    of the cells, each beginning with its column or with the settings that do not go together
    """

    settings: RunConfig | None
    seed: int | None
    faults: tuple[str, ...] = ()
    hashed: _Hash = None

    def key(self, prompt: str, seed: int) -> str:
        """`job_key` of these settings."""
        return _key(self.hashed.copy(), prompt, seed)


Cells = tuple[tuple[str, str], ...]  # of a row: columns (settings and `preset`) and what stands in them, in the order of the columns


class RowSettings:
    """Cells to settings, over the flags. Raises BadInput where the flags' preset or changes cannot be read.

    flag_faults  what is wrong with the flags' values, as far as a row was asked for that does not replace them
    """

    def __init__(self, flags: Flags) -> None:
        self.flag_faults: dict[str, None] = {}
        self._flags = flags
        self._resolved: dict[Cells, Resolved] = {}
        self._over_preset = cache(self._read_preset)
        self._base = self._over_preset(flags.preset or "default")

    def of(self, cells: Cells) -> Resolved:
        """The settings of a row."""
        found = self._resolved.get(cells)
        if found is None:
            found = self._resolved[cells] = self._resolve(dict(cells))
        return found

    def _resolve(self, cells: dict[str, str]) -> Resolved:
        values, faults = self._base, dict[str, str]()
        for name, cell in sorted(cells.items(), key=lambda each: each[0] != PRESET):  # which is laid under the others
            try:
                values = self._over_preset(cell) if name == PRESET else merge(values, read_cell(name, cell))
            except BadInput as error:
                faults[name] = str(error)
        found = validate(values)
        if isinstance(found, RunConfig):
            return Resolved(None, found.seed, tuple(faults.values())) if faults else _resolved(found)
        of_flags = [] if PRESET in cells else _problems(self._base)
        unread = bool(faults)  # so that what seems not to go together may be for want of a cell
        for problem in found:
            if problem in of_flags and problem.name not in cells:
                self.flag_faults[str(problem)] = None
            elif problem.name in cells or not unread:
                faults.setdefault(problem.name, str(problem))
        return Resolved(None, None, tuple(faults.values()))

    def _read_preset(self, preset: str) -> dict[str, Any]:
        """The values of a preset, then the flags."""
        over = None if self._flags.model is None else model_settings(self._flags.model)
        return merge(read_values(preset, self._flags.changes, over), self._flags.overrides())


def job_key(settings: RunConfig, prompt: str, seed: int) -> str:
    """The hash by which a finished job is known again: 128 bits of SHA-256, in hexadecimal digits.

    It is of the settings as JSON with sorted keys, without their device, prompt and seed, and of a second line: seed, space and prompt.
    """
    return _key(_hashed(settings), prompt, seed)


def _hashed(settings: RunConfig) -> _Hash:
    values = settings.model_dump(mode="json", exclude={"device", "prompt", "seed"})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode() + b"\n")


def _key(hashed: _Hash, prompt: str, seed: int) -> str:
    hashed.update(f"{seed} {prompt}".encode())
    return str(hashed.hexdigest()[:_KEY_DIGITS])


def _problems(values: dict[str, Any]) -> list[Problem]:
    found = validate(values)
    return [] if isinstance(found, RunConfig) else found


def _resolved(config: RunConfig) -> Resolved:
    settings = config.model_copy(update={"prompt": "", "seed": 0})
    return Resolved(settings, config.seed, (), _hashed(settings))
